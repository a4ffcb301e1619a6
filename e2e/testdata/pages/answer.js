// The page that an authorization response ends on: `answer` holds its parameters. It asks the OP's check page, as
// OpenID Connect Session Management 1.0, section 3.1 says, once a second. The `state` of the request names the OP's host.
'use strict';

const replies = [];
const provider = 'https://' + answer.state + ':' + location.port;

addEventListener('message', (event) => {
	if (event.origin === provider) replies.push(event.data);
});
addEventListener('load', () => {
	const frame = document.createElement('iframe');
	frame.src = provider + '/oidc/check-session';
	frame.onload = () => setInterval(() => {
		frame.contentWindow.postMessage(location.hostname.split('.')[1] + ' ' + answer.session_state, provider);
	}, 1000);
	document.body.append(frame);
});
