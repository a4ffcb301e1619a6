// The OpenID Provider (OP) of the browser tests: npm oidc-provider as it comes, with one login page of one button for each user.
//
//	node provider.mjs <issuer> <client>=<redirect URI>,<redirect URI>...
//
// A client with a secret is given by its metadata, as JSON, in place of that.
// With NO_LOGOUT in its environment it has no end_session endpoint.
// It listens on a free port of the loopback interface and prints that port.

import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const [issuer, ...registrations] = process.argv.slice(2);
const users = ['alice', 'bob'];

// SameSite=None lets prompt=none work in the hidden frame of an RP on another site, where the browser allows third-party cookies.
const crossSite = { httpOnly: true, sameSite: 'none', secure: true };

const provider = new Provider(issuer, {
	clients: registrations.map((registration) => {
		if (registration.startsWith('{')) return JSON.parse(registration);
		const [id, uris] = registration.split('=');
		return { client_id: id, token_endpoint_auth_method: 'none', redirect_uris: uris.split(',') };
	}),
	claims: { openid: ['sub', 'sid'], email: ['email', 'email_verified'], profile: ['name', 'preferred_username'] },
	clientBasedCORS: () => true,
	cookies: { long: crossSite, short: crossSite, keys: ['a key that signs the cookies of one test'] },
	features: { devInteractions: { enabled: false }, rpInitiatedLogout: { enabled: !process.env.NO_LOGOUT } },
	findAccount: (ctx, id) => ({ accountId: id, claims: () => claimsOf(id) }),
	interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
	loadExistingGrant: grantAll,
});
provider.proxy = true;

function claimsOf(id) {
	return { sub: id, name: id, preferred_username: id, email: `${id}@example.test`, email_verified: true };
}

// grantAll consents to what the client asks for: these tests are not about consent.
async function grantAll(ctx) {
	const { session, client } = ctx.oidc;
	const known = session.grantIdFor(client.clientId);
	const grant = known && await provider.Grant.find(known);
	if (grant) return grant;
	const fresh = new provider.Grant({ accountId: session.accountId, clientId: client.clientId });
	fresh.addOIDCScope('openid email profile');
	await fresh.save();
	return fresh;
}

// interact shows the login page and takes its answer.
async function interact(req, res) {
	const user = new URL(req.url, issuer).searchParams.get('user');
	if (users.includes(user)) {
		await provider.interactionFinished(req, res, { login: { accountId: user } });
		return;
	}
	const buttons = users.map((name) => `<button name="user" value="${name}">Sign in as ${name}</button>`);
	res.setHeader('Content-Type', 'text/html');
	res.end(`<!DOCTYPE html><title>Sign in</title><form>${buttons.join('')}</form>`);
}

const callback = provider.callback();
const server = createServer((req, res) => {
	if (!req.url.startsWith('/interaction/')) return callback(req, res);
	return interact(req, res).catch((err) => {
		res.statusCode = 500;
		res.end(err.message);
	});
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
