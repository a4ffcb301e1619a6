// A browser as far as the check page sees one: windows, the cookie, requests, timers and the
// clock. Nothing here waits: time passes by advance alone.
'use strict';

const crypto = require('crypto');
const vm = require('vm');

const COOKIE = '__Host-op_browser_state';
const PAGE_PATH = '/oidc/check-session';

// sessionState computes a session_state as Session Management 1.0, section 3.2 has it.
function sessionState(client, origin, browserState, salt) {
	const hash = crypto.createHash('sha256').update(`${client} ${origin} ${browserState} ${salt}`, 'utf8').digest('base64url');
	return hash + '.' + salt;
}

// Frame is a window that posts messages to the page and gets replies.
class Frame {
	constructor(browser, origin, top) {
		Object.assign(this, {browser, origin, top, replies: [], targets: []});
	}

	postMessage(word, target) {
		this.replies.push(word);
		this.targets.push(target);
	}

	// ask posts a message to the page, and returns the replies that came at once.
	ask(data) {
		const before = this.replies.length;
		this.browser.message({data, origin: this.origin, source: this});
		return this.replies.slice(before);
	}
}

// Browser has one page with the check page in a frame. Options: cookie (the browser state; null
// for none), unreadable (document.cookie throws), server (a function from a request to a word,
// null to leave it open), without (globals that are missing), random (what Math.random returns),
// script.
class Browser {
	constructor(options) {
		Object.assign(this, {cookie: 'B', unreadable: false, server: null, without: [], random: () => 0.5}, options);
		this.time = 1700000000000;
		this.timers = new Map();
		this.timerID = 0;
		this.requests = [];
		this.mostInFlight = 0;
		this.top = {};
		this.load();
	}

	load() {
		const browser = this;
		const window = {
			top: this.top,
			location: {pathname: PAGE_PATH},
			document: {
				documentElement: {getAttribute: (name) => name === 'data-cookie' ? COOKIE : null},
				get cookie() {
					if (browser.unreadable) throw new Error('SecurityError');
					return browser.cookie === null ? 'other=1' : `x${COOKIE}=wrong; ${COOKIE}=${browser.cookie}; ${COOKIE}_other=wrong`;
				},
			},
			setTimeout: (f, ms) => (this.timers.set(++this.timerID, {at: this.time + (ms || 0), f}), this.timerID),
			clearTimeout: (id) => this.timers.delete(id),
			btoa,
			AbortController,
			fetch: (url, options) => this.fetch(url, options),
			XMLHttpRequest: this.xhr(),
			clock: () => this.time,
			random: () => this.random(),
		};
		window.window = window;
		for (const name of this.without) delete window[name];
		vm.createContext(window);
		this.window = vm.runInContext('window', window);
		vm.runInContext('Date.now = clock; Math.random = random; delete globalThis.clock; delete globalThis.random', window);
		vm.runInContext(this.script, window);
	}

	frame(origin = 'https://rp.example', top = this.top) {
		return new Frame(this, origin, top);
	}

	message(e) {
		this.window.onmessage(e);
	}

	// begin records a request, however it was made. finish(status, text) and fail() end it, as
	// abort does.
	begin(request) {
		request.at = this.time;
		request.open = true;
		request.form = Object.fromEntries(new URLSearchParams(request.body));
		this.requests.push(request);
		this.mostInFlight = Math.max(this.mostInFlight, this.requests.filter((r) => r.open).length);
		const word = this.server && this.server(request);
		if (word) setImmediate(() => request.open && request.finish(200, word));
	}

	fetch(url, options) {
		return new Promise((resolve, reject) => {
			const end = (f, value) => {
				request.open = false;
				f(value);
			};
			const request = {
				...options, url, via: 'fetch', headers: options.headers, body: options.body,
				finish: (status, text) => end(resolve, {status, text: () => Promise.resolve(text)}),
				fail: () => end(reject, new TypeError('network')),
			};
			if (options.signal) {
				options.signal.addEventListener('abort', () => {
					request.aborted = request.open;
					end(reject, new Error('AbortError'));
				});
			}
			this.begin(request);
		});
	}

	xhr() {
		const browser = this;
		return class {
			constructor() {
				this.headers = {};
			}
			open(method, url) {
				Object.assign(this, {method, url});
			}
			setRequestHeader(name, value) {
				this.headers[name] = value;
			}
			abort() {
				this.request.aborted = this.request.open;
				this.request.open = false;
			}
			send(body) {
				const end = (f) => {
					if (!this.request.open) return;
					this.request.open = false;
					f();
				};
				this.request = {
					via: 'xhr', method: this.method, url: this.url, headers: this.headers, body,
					finish: (status, text) => end(() => {
						Object.assign(this, {status, responseText: text});
						this.onload();
					}),
					fail: () => end(() => this.onerror(new Error('network'))),
				};
				browser.begin(this.request);
			}
		};
	}

	// advance lets time pass and what is due happen.
	async advance(ms) {
		const end = this.time + ms;
		await this.settle();
		for (;;) {
			const due = [...this.timers].filter(([, t]) => t.at <= end).sort((a, b) => a[1].at - b[1].at || a[0] - b[0])[0];
			if (!due) break;
			this.timers.delete(due[0]);
			this.time = Math.max(this.time, due[1].at);
			due[1].f();
			await this.settle();
		}
		this.time = end;
	}

	// settle lets promises and answers arrive.
	async settle() {
		for (let i = 0; i < 3; i++) await new Promise(setImmediate);
	}

	// answer ends the open request.
	async answer(word, status = 200) {
		const request = this.requests.find((r) => r.open);
		if (!request) throw new Error('no request is open');
		request.finish(status, word);
		await this.settle();
	}

	async fail() {
		const request = this.requests.find((r) => r.open);
		if (!request) throw new Error('no request is open');
		request.fail();
		await this.settle();
	}
}

module.exports = {Browser, sessionState, COOKIE, PAGE_PATH};
