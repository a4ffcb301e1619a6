// A single-page app, whose page at the redirect URI posts the code as JSON to its API, which sets the cookie. See code_flow.mjs for the
// arguments.

import express from 'express';
import { authorizationURL, listen, random, redeem } from './code_flow.mjs';

const sessions = new Map();

// The address of the API is in an attribute for clients without scripts, which do what the script does.
const page = `<!DOCTYPE html><title>Signing in</title><script data-callback="/api/callback">
	const {callback} = document.currentScript.dataset;
	const {code, state} = Object.fromEntries(new URLSearchParams(location.search));
	fetch(callback, {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify({code, state})})
		.then((response) => response.json()).then(({next}) => location.replace(next));
</script>`;

const cookieOf = (req, name) => new RegExp(`(?:^|; )${name}=([^;]+)`).exec(req.headers.cookie ?? '')?.[1];
const options = { httpOnly: true, secure: true, sameSite: 'lax' };

const app = express();
app.use(express.json());
app.get('/', (req, res) => res.send('welcome'));
app.get('/login', async (req, res) => {
	const state = random();
	res.cookie('spa_state', state, options).redirect(await authorizationURL(state));
});
app.get('/callback', (req, res) => res.send(page));
app.post('/api/callback', async (req, res) => {
	const state = cookieOf(req, 'spa_state');
	const user = state && state === req.body.state && await redeem(req.body.code);
	if (!user) return res.status(400).json({ next: '/failed' });
	const id = random();
	sessions.set(id, user);
	return res.clearCookie('spa_state', options).cookie('spasid', id, options).json({ next: '/private' });
});
app.get('/private', (req, res) => {
	const user = sessions.get(cookieOf(req, 'spasid'));
	return user ? res.send(`user: ${user}`) : res.status(401).json({ error: 'unauthorized' });
});
listen(app);
