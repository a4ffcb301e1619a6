// The script of the check page, the "OP iframe" of OpenID Connect Session Management 1.0 (section
// 3.2).
//
// A relying party (RP) posts "<client_id> <session_state>", and the page replies `unchanged`,
// `changed` or `error`. It never posts anything else, nor without a message. The browser state
// cookie decides while it matches the session_state. If it does not match or cannot be read, the
// server decides, because browsers hide or partition the cookies of other sites' frames. If
// neither knows, the page does not reply: on a wrong reply, some RPs sign the user out, and others
// stop permanently.
//
// This is ECMAScript 5, and has a substitute for each newer API. The page has
// check_session.min.js, which `go generate` makes from this file.
(function () {
	'use strict';

	var WORDS = ['changed', 'unchanged', 'error', 'unknown'];
	var encode = encodeURIComponent;
	var cookieName = document.documentElement.getAttribute('data-cookie');

	// The server's answers by question, and the questions in the order of their first answers.
	// Only an answer makes an entry, so that a flood of messages evicts at most one entry a
	// second.
	var answers = {}, keys = [];

	// The latest message of each sender that needs the server, in the order of their turns.
	var waiting = [];

	// A request is in flight, or was less than a second ago.
	var busy;
	var failures = 0;

	// The constants of SHA-256 (FIPS 180-4, sections 4.2.2 and 5.3.3): the fractions of the square
	// and cube roots of primes.
	var squareRoots = [], cubeRoots = [], number, divisor;
	for (number = 2; cubeRoots.length < 64; number++) {
		for (divisor = 2; number % divisor; divisor++) {}
		if (divisor === number) {
			squareRoots.push(Math.sqrt(number) * 4294967296 | 0);
			cubeRoots.push(Math.pow(number, 1 / 3) * 4294967296 | 0);
		}
	}

	window.onmessage = function (e) {
		if (!inThisTree(e.source) || WORDS.lastIndexOf(e.data, 2) >= 0) return;
		var q = parse(e), i = 0;
		reply(q);
		while (i < waiting.length && waiting[i].source !== q.source) i++;
		if (!q.rank) {
			waiting.splice(i, 1);
		} else if (i < 8 || q.source === window.parent) {
			// The page around this frame, usually the RP, has its place even if many frames ask.
			q.since = waiting[i] ? waiting[i].since : Date.now();
			waiting[i] = q;
			ask();
		}
	};

	// inThisTree reports whether a window is another frame of the page that this frame is in.
	// Others, for example a page that opened that page, must not make the browser send requests.
	function inThisTree(source) {
		try {
			return source && source !== window && source.top === window.top;
		} catch (x) {}
	}

	// parse returns the question of a message. Its verdict is a reply that needs no decision; ''
	// means no reply.
	function parse(e) {
		var text = typeof e.data === 'string' ? e.data : '';
		var space = text.lastIndexOf(' '), state = text.slice(space + 1), dot = state.indexOf('.');
		var q = {
			source: e.source,
			origin: e.origin,
			key: e.origin + ' ' + text,
			client: text.slice(0, space),
			hash: state.slice(0, dot),
			salt: state.slice(dot + 1)
		};
		if (space < 1 || text.length > 2048) {
			q.verdict = 'error';
		} else if (!state) {
			q.verdict = '';
		} else if (dot < 1 || !q.salt || q.origin === 'null') {
			q.verdict = 'error';
		}
		try {
			q.body = 'client_id=' + encode(q.client) + '&session_state=' + encode(state) + '&origin=' + encode(q.origin);
		} catch (x) {
			// It has half of a surrogate pair.
			q.verdict = 'error';
		}
		return q;
	}

	// reply replies to a question if it can be decided now.
	function reply(q) {
		var word = decide(q);
		if (word) {
			try {
				q.source.postMessage(word, q.origin === 'null' ? '*' : q.origin);
			} catch (x) {
				// The sender is gone.
			}
		}
	}

	// decide returns the reply to a question, if there is one. It sets rank: 0 if the server need
	// not be asked, 1 if it is asked after the reply, 2 if before it.
	function decide(q) {
		var known = answers[q.key] || {}, word = known.word, current = browserState();
		q.rank = 0;
		if (q.verdict !== undefined) return q.verdict;
		if (word === 'changed' || word === 'error') return word;
		if (current && q.hash === sha256(q.client + ' ' + q.origin + ' ' + current + ' ' + q.salt)) {
			q.rank = recent(known.asked, 60000) ? 0 : 1;
			return 'unchanged';
		}
		// The server's answer is for the cookie at that time.
		if (recent(known.asked, known.kept) && known.state === current) return word === 'unknown' ? current && 'changed' : word;
		q.rank = 2;
	}

	// browserState returns the value of the cookie, '' without one. Reading it throws in a
	// sandboxed frame.
	function browserState() {
		try {
			return (('; ' + document.cookie).split('; ' + cookieName + '=')[1] || '').split(';')[0];
		} catch (x) {
			return '';
		}
	}

	// ask sends the next question. Senders take turns, even if some send more than others.
	// Questions of rank 1 wait for those of rank 2, but at most ten seconds.
	function ask() {
		if (busy || !waiting.length) return;
		var i = 0;
		while (i < waiting.length && waiting[i].rank < 2 && recent(waiting[i].since, 10000)) i++;
		var q = waiting.splice(i % waiting.length, 1)[0], asked = Date.now(), state = browserState();
		waiting.push(q);
		busy = true;
		post(q.body + '&browser_state=' + encode(state), function (word) {
			if (word) {
				failures = 0;
				if (!answers[q.key] && keys.push(q.key) > 64) delete answers[keys.shift()];
				answers[q.key] = {word: word, asked: asked, kept: spread(8000), state: state};
			}
			// The latest message of each sender gets the reply, even if another one was asked for.
			waiting = waiting.filter(function (other) {
				if (other.rank > 1) {
					reply(other);
				} else if (other.key === q.key) {
					other.rank = 0;
				}
				return other.rank;
			});
			setTimeout(function () {
				busy = false;
				ask();
			}, word ? 1000 : spread(Math.min(1000 * Math.pow(2, failures++), 40000)));
		});
	}

	// post calls report once, with the server's answer if there is one.
	function post(body, report) {
		var type = 'application/x-www-form-urlencoded', path = location.pathname, xhr, abort, limit = setTimeout(finish, 5000);
		function finish(status, text) {
			if (!report) return;
			clearTimeout(limit);
			report(status === 200 && WORDS.indexOf(text) >= 0 && text);
			report = 0;
			if (abort) abort.abort();
		}
		try {
			if (window.fetch) {
				abort = window.AbortController && new AbortController();
				fetch(path, {
					method: 'POST',
					headers: {'Content-Type': type},
					body: body,
					credentials: 'omit',
					signal: abort && abort.signal
				}).then(function (response) {
					return response.text().then(function (text) {
						finish(response.status, text);
					});
				}).then(null, finish);
			} else {
				xhr = abort = new XMLHttpRequest();
				xhr.onload = function () {
					finish(xhr.status, xhr.responseText);
				};
				xhr.onerror = finish;
				xhr.open('POST', path);
				xhr.setRequestHeader('Content-Type', type);
				xhr.send(body);
			}
		} catch (x) {
			finish();
		}
	}

	// recent reports whether a time was less than so many milliseconds ago. A time in the future,
	// after the clock was set back, was not.
	function recent(time, length) {
		var age = Date.now() - time;
		return age >= 0 && age < length;
	}

	// spread lengthens a time by up to a half, so that browsers do not ask at the same time.
	function spread(length) {
		return length * (1 + Math.random() / 2);
	}

	// sha256 returns the unpadded base64url of the SHA-256 (FIPS 180-4, section 6.2.2) of a text
	// in UTF-8. The browser's own is asynchronous, and needs a secure context.
	function sha256(text) {
		var bytes = unescape(encode(text)) + '\x80', size = (bytes.length + 71 >> 6) * 16;
		var words = [], w = [], h = squareRoots.slice(0, 8), out = '', block, i, v, a, e;
		for (i = 0; i < bytes.length; i++) words[i >> 2] |= bytes.charCodeAt(i) << 24 - i % 4 * 8;
		words[size - 1] = (bytes.length - 1) * 8;
		for (block = 0; block < size; block += 16) {
			v = h.slice();
			for (i = 0; i < 64; i++) {
				a = w[i - 15];
				e = w[i - 2];
				w[i] = (i < 16 ? words[block + i] : w[i - 16] + w[i - 7] +
					(rotate(a, 7) ^ rotate(a, 18) ^ a >>> 3) + (rotate(e, 17) ^ rotate(e, 19) ^ e >>> 10)) | 0;
				a = v[0];
				e = v[4];
				e = v.pop() + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + (e & v[5] ^ ~e & v[6]) + cubeRoots[i] + w[i];
				v.unshift(e + (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + (a & v[1] ^ a & v[2] ^ v[1] & v[2]) | 0);
				v[4] = v[4] + e | 0;
			}
			for (i = 0; i < 8; i++) h[i] = h[i] + v[i] | 0;
		}
		for (i = 0; i < 32; i++) out += String.fromCharCode(h[i >> 2] >>> 24 - i % 4 * 8 & 255);
		return btoa(out).slice(0, 43).split('+').join('-').split('/').join('_');
	}

	function rotate(x, n) {
		return x >>> n | x << 32 - n;
	}
})();
