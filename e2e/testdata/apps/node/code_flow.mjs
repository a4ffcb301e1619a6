// What the small apps here have in common: each is started by
//
//	node APP ISSUER SITE CLIENT_ID
//
// listens on a free port of the loopback interface, and prints that port. Browsers reach it at SITE, and its redirect URI is
// SITE/callback. The code flow is written out, as in many an app that has no library for it.

import { randomBytes } from 'node:crypto';

export const [issuer, site, clientID, mode] = process.argv.slice(2);
export const redirectURI = `${site}/callback`;

const secret = `${clientID}-secret`;
let found;

// metadata is the OP's document, which is asked for at the first sign-in.
function metadata() {
	found ??= fetch(`${issuer}/.well-known/openid-configuration`).then((response) => response.json());
	return found;
}

export const random = () => randomBytes(16).toString('base64url');

export async function authorizationURL(state) {
	const query = new URLSearchParams({ client_id: clientID, redirect_uri: redirectURI, response_type: 'code', scope: 'openid', state });
	return `${(await metadata()).authorization_endpoint}?${query}`;
}

// redeem returns the user whom a code is of. The ID token comes from the OP itself: OpenID Connect Core, 3.1.3.7, rule 6.
export async function redeem(code) {
	const response = await fetch((await metadata()).token_endpoint, {
		method: 'POST',
		headers: { authorization: `Basic ${Buffer.from(`${clientID}:${secret}`).toString('base64')}` },
		body: new URLSearchParams({ grant_type: 'authorization_code', code, redirect_uri: redirectURI }),
	});
	const { id_token: token } = await response.json();
	if (!token) return undefined;
	return JSON.parse(Buffer.from(token.split('.')[1], 'base64url')).sub;
}

export function listen(app) {
	const server = app.listen(0, '127.0.0.1', () => console.log(server.address().port));
}
