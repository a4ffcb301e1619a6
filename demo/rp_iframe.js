// The RP's part of OpenID Connect Session Management 1.0, section 3.1: asks the OP's iframe every two seconds whether the user's
// session at the OpenID Provider (OP) is still the one this app knows, and acts when it is not.
//
// To use it: serve this file from the app, and put into its page
//
//	<p role="status" id="session-text"></p>
//	<script type="application/json" id="session-config">
//		{"client_id": "shop", "session_state": "…", "check_session_iframe": "https://op.example.com/oidc/check-session", "silent_login": "/login?prompt=none"}
//	</script>
//	<script src="/rp_iframe.js" defer></script>
//
// session_state is the parameter of the last authorization response, check_session_iframe comes from the OP's discovery document,
// and silent_login is a page of the app that starts an authorization request with prompt=none. Its callback acts on the answer
// (the server ends or updates the app's session) and has the outcome for this script in the page that it ends on:
//
//	<script type="application/json" id="silent-answer">{"status": "same", "session_state": "…"}</script>
//
// where status is same (the same user is signed in), other (another user), none (nobody) or unknown (the OP did not say).
(function () {
	"use strict";

	const pollEvery = 2000; // ms
	const silentAtMost = 15000; // ms that a prompt=none may take
	const quietAfter = 3 * pollEvery; // ms without a reply until the page says so

	const config = JSON.parse(document.getElementById("session-config").textContent);
	if (!config.session_state || !config.check_session_iframe) {
		return; // nobody is signed in here, or the OP has no session management: nothing to watch
	}
	let sessionState = config.session_state;
	let mayAsk = true; // false from a "changed" to the next "unchanged": one prompt=none for one change, never a loop
	let lastReply = Date.now();

	// The OP iframe. It needs an id (section 3.2), and its origin is the only one to send to and to believe (section 3.1).
	const opOrigin = new URL(config.check_session_iframe).origin;
	const opFrame = hiddenFrame("op-iframe", config.check_session_iframe);
	let timer = 0;
	opFrame.addEventListener("load", function () {
		if (!timer) {
			timer = setInterval(poll, pollEvery);
			poll();
		}
	});
	window.addEventListener("message", receive);
	document.body.appendChild(opFrame);
	show("waiting", "Asking the OP …");

	function poll() {
		// The syntax is: client ID, space, session state. The second argument keeps it from a page that took the OP's place.
		opFrame.contentWindow.postMessage(config.client_id + " " + sessionState, opOrigin);
		if (mayAsk && Date.now() - lastReply > quietAfter) {
			show("waiting", "No answer: the OP cannot tell just now. Nothing is done.");
		}
	}

	function receive(e) {
		if (e.origin !== opOrigin || e.source !== opFrame.contentWindow || !timer) {
			return; // anybody can send messages; only the OP iframe's count (section 3.1)
		}
		lastReply = Date.now();
		switch (e.data) {
		case "unchanged":
			mayAsk = true;
			show("unchanged", "Still signed in at the OP.");
			break;
		case "changed":
			if (mayAsk) {
				mayAsk = false;
				show("changed", "The session at the OP changed: asking who is signed in.");
				askSilently();
			}
			break;
		case "error":
			// Asking again would not help, and could go on for ever (section 3.1): show it, do nothing.
			show("error", "The OP says: error. It does not know this app or this session_state.");
			break;
		}
	}

	// askSilently sends a hidden iframe through the authorization endpoint with prompt=none. It starts and, unless something
	// went wrong, ends on a page of our own origin, so that we can read the answer from it.
	function askSilently() {
		const frame = hiddenFrame("silent-iframe", config.silent_login);
		const giveUp = setTimeout(function () {
			done({status: "unknown", error: "no answer in time"});
		}, silentAtMost);
		function done(answer) {
			clearTimeout(giveUp);
			frame.remove();
			act(answer);
		}
		frame.addEventListener("load", function () {
			let element = null;
			try {
				element = frame.contentDocument.getElementById("silent-answer");
			} catch (e) {
				// It ended on a page of another origin: an error page of the OP.
			}
			done(element ? JSON.parse(element.textContent) : {status: "unknown", error: "no answer"});
		});
		document.body.appendChild(frame);
	}

	// act does what section 3.1 asks for: the same user, and only session_state is new; anything else is a logout, which the
	// server has done already.
	function act(answer) {
		switch (answer.status) {
		case "same":
			if (answer.session_state) {
				sessionState = answer.session_state;
			}
			show("waiting", "The same user is still signed in at the OP.");
			break;
		case "other":
			stop("signed-out", "Signed out here: another user is signed in at the OP now.");
			break;
		case "none":
			stop("signed-out", "Signed out here, because you are no longer signed in at the OP.");
			break;
		default:
			show("error", "The session at the OP changed, but it could not be asked: " + answer.error);
		}
	}

	function stop(state, text) {
		clearInterval(timer);
		timer = 0;
		window.removeEventListener("message", receive);
		opFrame.remove();
		show(state, text);
	}

	function hiddenFrame(id, url) {
		const frame = document.createElement("iframe");
		frame.id = id;
		frame.title = "Session check, nothing to see";
		frame.hidden = true;
		frame.src = url;
		return frame;
	}

	// show tells the user, and the rest of the page: what else depends on the session listens to the event.
	function show(state, text) {
		const element = document.getElementById("session-text");
		if (element.textContent !== text) { // said once, not every two seconds, to those who have it read out
			element.textContent = text;
		}
		document.body.dataset.session = state;
		document.dispatchEvent(new CustomEvent("session", {detail: {state: state, text: text}}));
	}
})();
