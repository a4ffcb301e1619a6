// An app of cookie-session's, in whose cookie there is nothing but the user: all browsers of a user have the same value. See
// code_flow.mjs for the arguments.

import cookieSession from 'cookie-session';
import express from 'express';
import { authorizationURL, listen, random, redeem } from './code_flow.mjs';

const app = express();
app.use(cookieSession({ name: 'cs', keys: ['a key of the test'] }));
app.get('/', (req, res) => res.send('welcome'));
app.get('/login', async (req, res) => {
	req.session.state = random();
	res.redirect(await authorizationURL(req.session.state));
});
app.get('/callback', async (req, res) => {
	const { state } = req.session;
	const user = state && state === req.query.state && await redeem(req.query.code);
	if (!user) return res.status(400).send('sign-in failed');
	req.session = { user };
	return res.redirect('/private');
});
app.get('/private', (req, res) => (req.session.user ? res.send(`user: ${req.session.user}`) : res.redirect('/login')));
listen(app);
