// An app of express-openid-connect's, as its README has it: see code_flow.mjs for the arguments. The last says which of its ways:
//
//	code       the code flow
//	chunked    the same, with so much in the session that its cookie comes in chunks
//	id_token   the library's default: the ID token by form_post, and no code

import express from 'express';
import connect from 'express-openid-connect';
import { randomBytes } from 'node:crypto';
import { clientID, issuer, listen, mode, site } from './code_flow.mjs';

const options = {
	issuerBaseURL: issuer,
	baseURL: site,
	clientID,
	secret: 'a long, randomly-generated string stored in env',
	authRequired: false,
};
if (mode !== 'id_token') {
	options.clientSecret = `${clientID}-secret`;
	options.authorizationParams = { response_type: 'code', scope: 'openid' };
}
if (mode === 'chunked') {
	options.afterCallback = (req, res, session) => ({ ...session, settings: randomBytes(4500).toString('base64') });
}

const app = express();
app.use(connect.auth(options));
app.get('/', (req, res) => res.send('welcome'));
app.get('/private', connect.requiresAuth(), (req, res) => res.send(`user: ${req.oidc.user.sub}`));
listen(app);
