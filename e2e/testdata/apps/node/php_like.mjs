// An app whose sessions are PHP's: the first page sets PHPSESSID, and a sign-in keeps it and does not set it again. See code_flow.mjs
// for the arguments.

import { createServer } from 'node:http';
import { authorizationURL, listen, random, redeem, site } from './code_flow.mjs';

const sessions = new Map();

function startSession(req, res) {
	const presented = /(?:^|; )PHPSESSID=([^;]+)/.exec(req.headers.cookie ?? '')?.[1];
	if (sessions.has(presented)) return sessions.get(presented);
	const id = random();
	sessions.set(id, {});
	res.setHeader('Set-Cookie', `PHPSESSID=${id}; Path=/; Secure; HttpOnly; SameSite=Lax`);
	return sessions.get(id);
}

async function answer(req, res) {
	const { pathname, searchParams } = new URL(req.url, site);
	const session = startSession(req, res);
	const redirect = (target) => res.writeHead(302, { Location: target }).end();
	switch (pathname) {
	case '/login':
		session.state = random();
		return redirect(await authorizationURL(session.state));
	case '/callback': {
		const state = session.state;
		delete session.state;
		const user = state && state === searchParams.get('state') && await redeem(searchParams.get('code'));
		if (!user) return res.writeHead(400).end('sign-in failed');
		session.user = user;
		return redirect('/private');
	}
	case '/private':
		if (!session.user) return redirect('/login');
		return res.writeHead(200, { 'Content-Type': 'text/html' }).end(`user: ${session.user}`);
	default:
		return res.end('welcome');
	}
}

listen(createServer((req, res) => answer(req, res).catch((err) => res.writeHead(500).end(err.message))));
