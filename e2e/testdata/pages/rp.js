// A relying party as oidc-client-ts makes it, in the browser alone. The query of its first page names the host of the OP, and
// `anonymous` in it makes the party watch the OP while nobody is signed in; `client` makes it another client. The tab remembers all.
'use strict';

if (location.search && document.currentScript.dataset.page === 'first') sessionStorage.setItem('options', location.search);
const options = new URLSearchParams(sessionStorage.getItem('options') || '');
const provider = 'https://' + (options.get('op') || 'op.provider.test') + ':' + location.port;

const manager = new oidc.UserManager({
	authority: provider,
	client_id: options.get('client') || location.hostname.split('.')[1],
	redirect_uri: location.origin + '/callback.html',
	silent_redirect_uri: location.origin + '/silent.html',
	scope: 'openid',
	monitorSession: true,
	monitorAnonymousSession: options.has('anonymous'),
	checkSessionIntervalInSeconds: 1,
	silentRequestTimeoutInSeconds: 5,
	automaticSilentRenew: false,
});

// What the tests look at: how often the check page said what, what prompt=none found, and what the library made of it.
const replies = {};
const queries = [];
const events = [];
let lastReply;
let longestSilence = 0; // between two replies, in milliseconds

addEventListener('message', (event) => {
	if (event.origin !== provider || typeof event.data !== 'string') return;
	replies[event.data] = (replies[event.data] || 0) + 1;
	longestSilence = Math.max(longestSilence, event.timeStamp - (lastReply ?? event.timeStamp));
	lastReply = event.timeStamp;
});
const query = manager.querySessionStatus.bind(manager);
manager.querySessionStatus = async (args) => {
	try {
		const status = await query(args);
		queries.push((status.sub || 'nobody') + (status.session_state ? '' : ', without session_state'));
		return status;
	} catch (err) {
		queries.push(err.error || err.message);
		throw err;
	}
};
manager.events.addUserSignedOut(() => {
	events.push('signed out');
	document.getElementById('state').textContent = 'signed out at the provider';
});
manager.events.addUserSessionChanged(() => events.push('session changed'));
manager.events.addUserSignedIn(() => events.push('signed in'));

document.addEventListener('DOMContentLoaded', async () => {
	const state = document.getElementById('state');
	const button = document.getElementById('sign-in');
	if (button) {
		button.onclick = () => manager.signinRedirect();
		return;
	}
	try {
		const user = await manager.signinCallback();
		state.textContent = 'signed in as ' + user.profile.sub;
	} catch (err) {
		state.textContent = err.message;
	}
});
