// What the check page does, one sentence each. Each scenario gets open, which loads the page in a
// new browser.
'use strict';

const assert = require('assert');
const {sessionState, PAGE_PATH} = require('./browser.js');

const RP = 'https://rp.example';
const OTHER = 'https://other.example';

// message returns the message of a client whose session_state was made for the given browser
// state.
const message = (browserState, {client = 'shop', origin = RP, salt = 'salt'} = {}) =>
	`${client} ${sessionState(client, origin, browserState, salt)}`;
const FITS = message('B');
const DIFFERS = message('A');

const equal = assert.deepStrictEqual;

// gaps returns the times between the starts of the requests.
const gaps = (browser) => browser.requests.slice(1).map((r, i) => r.at - browser.requests[i].at);

// assertBounded checks what holds whatever messages come.
function assertBounded(browser, milliseconds) {
	assert(browser.mostInFlight <= 1, `${browser.mostInFlight} requests in flight at once`);
	for (const gap of gaps(browser)) assert(gap >= 1000, `two requests were started within ${gap} ms`);
	assert(browser.requests.length <= milliseconds / 1000 + 1, `${browser.requests.length} requests in ${milliseconds} ms`);
}

const scenarios = module.exports = {};

// Which messages count.

scenarios['a message from a window that is not in the same frame tree is ignored'] = async (open) => {
	const b = open();
	equal(b.frame(RP, {}).ask(FITS), []);
	equal(b.frame(RP, {}).ask(DIFFERS), []);
	equal(b.frame(RP, {}).ask('malformed'), []);
	await b.advance(10000);
	equal(b.requests.length, 0);
};

scenarios['a message without a source is ignored'] = async (open) => {
	const b = open();
	b.message({data: DIFFERS, origin: RP, source: null});
	await b.advance(10000);
	equal(b.requests.length, 0);
};

scenarios['a message from the page itself is ignored'] = async (open) => {
	const b = open();
	let replies = 0;
	b.window.postMessage = () => replies++;
	b.message({data: DIFFERS, origin: RP, source: b.window});
	b.message({data: 'malformed', origin: RP, source: b.window});
	await b.advance(10000);
	equal([replies, b.requests.length], [0, 0]);
};

scenarios['a source whose top cannot be read is ignored'] = async (open) => {
	const b = open();
	const source = {
		get top() {
			throw new Error('SecurityError');
		},
		postMessage: () => assert.fail('a reply was posted'),
	};
	b.message({data: DIFFERS, origin: RP, source});
	await b.advance(10000);
	equal(b.requests.length, 0);
};

scenarios['a reply sent back to the page is ignored, so that two pages cannot play ping-pong'] = async (open) => {
	const b = open();
	for (const word of ['changed', 'unchanged', 'error']) equal(b.frame().ask(word), [], word);
	await b.advance(10000);
	equal(b.requests.length, 0);
};

scenarios['two check pages that reach each other do not play ping-pong'] = async (open) => {
	const one = open(), two = open();
	let posts = 0;
	const relay = (to, top) => ({
		top,
		postMessage: (data) => {
			assert(++posts < 100, 'ping-pong');
			to.message({data, origin: RP, source: relay(to === one ? two : one, to.top)});
		},
	});
	one.message({data: 'malformed', origin: RP, source: relay(two, one.top)});
	equal(posts, 1);
};

scenarios['ignored messages do not even read the cookie'] = async (open) => {
	const b = open();
	let reads = 0;
	Object.defineProperty(b.window.document, 'cookie', {get: () => (reads++, '')});
	b.frame(RP, {}).ask(FITS);
	b.frame().ask('changed');
	equal(reads, 0);
	b.frame().ask(FITS);
	assert(reads > 0);
};

// The syntax of messages.

for (const [name, data] of Object.entries({
	'that is an object': {client: 'shop'},
	'that is an object without a string form': {toString: 1, valueOf: 1},
	'that is a list of one reply': ['changed'],
	'that is null': null,
	'that is undefined': undefined,
	'that is a number': 1,
	'that is empty': '',
	'without a space': 'shop',
	'without a client_id': ' ' + sessionState('', RP, 'B', 'salt'),
	'that is a space': ' ',
	'whose session_state has no dot': 'shop hash',
	'whose session_state has no salt': 'shop hash.',
	'whose session_state has no hash': 'shop .salt',
	'that is longer than 2048': message('B', {client: 'x'.repeat(2000)}),
	'with half of a surrogate pair': 'shop\ud800 hash.salt',
})) {
	scenarios[`a message ${name} is an error`] = async (open) => {
		const b = open();
		const rp = b.frame();
		equal(rp.ask(data), ['error']);
		equal(rp.targets, [RP]);
		await b.advance(10000);
		equal([rp.replies.length, b.requests.length], [1, 0]);
	};
}

scenarios['a message of 2048 is none too long'] = async (open) => {
	const client = 'x'.repeat(2048 - FITS.length + 'shop'.length);
	const data = message('B', {client});
	equal(data.length, 2048);
	equal(open().frame().ask(data), ['unchanged']);
};

scenarios['a message with an empty session_state gets no reply'] = async (open) => {
	const b = open();
	const rp = b.frame();
	equal(rp.ask('shop '), []);
	equal(b.frame('null').ask('shop '), []);
	await b.advance(10000);
	equal([rp.replies.length, b.requests.length], [0, 0]);
};

scenarios['an opaque origin is an error, posted to any origin'] = async (open) => {
	const b = open();
	const rp = b.frame('null');
	equal(rp.ask(message('B', {origin: 'null'})), ['error']);
	equal(rp.targets, ['*']);
	await b.advance(10000);
	equal(b.requests.length, 0);
};

scenarios['the client_id is all before the last space'] = async (open) => {
	const b = open();
	equal(b.frame().ask(message('B', {client: 'my  shop '})), ['unchanged']);
	await b.settle();
	equal(b.requests[0].form.client_id, 'my  shop ');
};

scenarios['the salt is all behind the first dot'] = async (open) => {
	equal(open().frame().ask(message('B', {salt: 'a.b..c'})), ['unchanged']);
};

// The cookie decides where it agrees.

scenarios['a cookie that agrees gets unchanged at once, before any request is answered'] = async (open) => {
	const b = open();
	const rp = b.frame();
	equal(rp.ask(FITS), ['unchanged']);
	equal(rp.targets, [RP]);
};

scenarios['the origin of the message counts, not what the sender says'] = async (open) => {
	const b = open();
	const foreign = b.frame(OTHER);
	equal(foreign.ask(FITS), []);
	equal(b.requests[0].form.origin, OTHER);
	await b.answer('error');
	equal([foreign.replies, foreign.targets], [['error'], [OTHER]]);
};

scenarios['the cookie is read anew for each message'] = async (open) => {
	const b = open({server: () => 'unknown'});
	const rp = b.frame();
	equal(rp.ask(FITS), ['unchanged']);
	b.cookie = 'A';
	equal(rp.ask(DIFFERS), ['unchanged']);
	await b.settle();
	equal(rp.ask(FITS), []);
	await b.advance(1000);
	equal(rp.replies, ['unchanged', 'unchanged', 'changed']);
};

scenarios['what the server said of another cookie decides nothing'] = async (open) => {
	const b = open({server: (r) => r.form.browser_state === 'B' ? 'unknown' : 'unchanged'});
	const rp = b.frame();
	equal(rp.ask(FITS), ['unchanged']);
	await b.settle();
	b.cookie = 'A';
	equal(rp.ask(FITS), []);
	await b.advance(1000);
	equal(rp.replies, ['unchanged', 'unchanged']);
};

scenarios['behind a cookie that agrees the server is asked for the first message'] = async (open) => {
	const b = open();
	b.frame().ask(FITS);
	equal(b.requests.length, 1);
};

scenarios['behind a cookie that agrees the server is asked again after 60 s, by timestamp'] = async (open) => {
	const b = open({server: () => 'unchanged'});
	const rp = b.frame();
	for (let i = 0; i < 30; i++) {
		equal(rp.ask(FITS), ['unchanged']);
		await b.advance(2000);
	}
	equal(b.requests.length, 1);
	equal(rp.ask(FITS), ['unchanged']);
	await b.settle();
	equal(gaps(b), [60000]);
	// No timers run while a computer sleeps.
	b.time += 3600000;
	await b.advance(0);
	equal(rp.ask(FITS), ['unchanged']);
	await b.settle();
	equal(b.requests.length, 3);
};

scenarios['without messages the server is not asked again'] = async (open) => {
	const b = open({server: () => 'unchanged'});
	b.frame().ask(FITS);
	await b.advance(600000);
	equal(b.requests.length, 1);
};

scenarios['a clock that is set back does not put the server off'] = async (open) => {
	const b = open({server: () => 'unchanged'});
	const rp = b.frame();
	rp.ask(FITS);
	await b.advance(2000);
	b.time -= 86400000;
	equal(rp.ask(FITS), ['unchanged']);
	await b.settle();
	equal(b.requests.length, 2);
};

for (const word of ['changed', 'error']) {
	scenarios[`${word} from behind a cookie that agrees shows at the next message, never unasked`] = async (open) => {
		const b = open();
		const rp = b.frame();
		equal(rp.ask(FITS), ['unchanged']);
		await b.answer(word);
		await b.advance(30000);
		equal(rp.replies, ['unchanged']);
		equal(rp.ask(FITS), [word]);
	};
}

scenarios['the cookie still decides when the server does not know the session behind it'] = async (open) => {
	const b = open({server: () => 'unknown'});
	const rp = b.frame();
	for (let i = 0; i < 20; i++) {
		equal(rp.ask(FITS), ['unchanged']);
		await b.advance(2000);
	}
	equal(b.requests.length, 1);
};

scenarios['the server is asked per client, session_state and origin'] = async (open) => {
	const b = open({server: () => 'unchanged'});
	const messages = [[RP, {}], [RP, {client: 'wiki'}], [RP, {salt: 'pepper'}], [OTHER, {origin: OTHER}]];
	for (const [origin, parts] of messages) {
		equal(b.frame(origin).ask(message('B', parts)), ['unchanged']);
		await b.advance(3000);
	}
	equal(b.requests.length, 4);
};

scenarios['an answer for one origin is none for another'] = async (open) => {
	const b = open({cookie: null, server: (r) => r.form.origin === RP ? 'unchanged' : 'error'});
	const rp = b.frame(), other = b.frame(OTHER);
	rp.ask(FITS);
	await b.advance(2000);
	equal(other.ask(FITS), []);
	await b.settle();
	equal([rp.replies, other.replies], [['unchanged'], ['error']]);
};

// The server decides where the cookie does not agree.

for (const [state, options] of Object.entries({
	'differs': {cookie: 'other'},
	'is missing': {cookie: null},
	'is empty': {cookie: ''},
	'cannot be read': {unreadable: true},
})) {
	for (const word of ['unchanged', 'changed', 'error']) {
		scenarios[`${word} is replied when the server says so and the cookie ${state}`] = async (open) => {
			const b = open(options);
			const rp = b.frame();
			equal(rp.ask(FITS), []);
			await b.answer(word);
			equal([rp.replies, rp.targets], [[word], [RP]]);
		};
	}

	const reply = state === 'differs' ? ['changed'] : [];
	scenarios[`${reply.length ? 'changed' : 'silence'} follows when the server does not know and the cookie ${state}`] = async (open) => {
		const b = open(options);
		const rp = b.frame();
		equal(rp.ask(FITS), []);
		await b.answer('unknown');
		equal(rp.replies, reply);
		equal(rp.ask(FITS), reply);
		await b.advance(5000);
		equal(rp.ask(FITS), reply);
		equal(b.requests.length, 1);
	};
}

scenarios['changed by the cookie alone is not kept for good'] = async (open) => {
	const b = open({cookie: 'other', server: () => 'unknown'});
	const rp = b.frame();
	rp.ask(FITS);
	await b.settle();
	equal(rp.replies, ['changed']);
	b.cookie = 'B';
	equal(rp.ask(FITS), ['unchanged']);
};

for (const word of ['changed', 'error']) {
	scenarios[`${word} from the server is kept for good`] = async (open) => {
		const b = open({cookie: 'other'});
		const rp = b.frame();
		rp.ask(FITS);
		await b.answer(word);
		b.cookie = 'B';
		await b.advance(86400000);
		for (let i = 0; i < 3; i++) equal(rp.ask(FITS), [word]);
		b.time -= 2 * 86400000;
		equal(rp.ask(FITS), [word]);
		await b.advance(100000);
		equal(b.requests.length, 1);
		equal(b.frame(OTHER).ask(message('B', {origin: OTHER})), ['unchanged']);
	};
}

for (const [name, random, kept] of [['shortest', 0, 8000], ['longest', 0.999999, 11999]]) {
	scenarios[`unchanged is kept for 8 to 12 s: ${name}`] = async (open) => {
		const b = open({cookie: null, server: () => 'unchanged', random: () => random});
		const rp = b.frame();
		rp.ask(FITS);
		await b.settle();
		await b.advance(kept - 1);
		equal(rp.ask(FITS), ['unchanged']);
		equal(b.requests.length, 1);
		await b.advance(2);
		equal(rp.ask(FITS), []);
		equal(b.requests.length, 2);
	};
}

scenarios['unchanged by the server holds although the cookie differs'] = async (open) => {
	const b = open({cookie: 'other', server: () => 'unchanged'});
	const rp = b.frame();
	for (let i = 0; i < 60; i++) {
		rp.ask(FITS);
		await b.advance(1000);
	}
	equal(new Set(rp.replies), new Set(['unchanged']));
	equal(rp.replies.length, 60);
	equal(b.requests.length, 6);
};

// Messages while the server is being asked.

scenarios['messages that come while the server is asked get one reply'] = async (open) => {
	const b = open({cookie: null});
	const rp = b.frame();
	for (let i = 0; i < 4; i++) {
		equal(rp.ask(FITS), []);
		await b.advance(1000);
	}
	await b.answer('unchanged');
	equal(b.timers.size, 1, 'the time-out is over with the answer');
	await b.advance(10000);
	equal([rp.replies, b.requests.length], [['unchanged'], 1]);
};

scenarios['the reply goes to the latest message of its sender'] = async (open) => {
	const b = open({cookie: null, server: (r) => r.form.client_id === 'wiki' ? 'changed' : null});
	const rp = b.frame();
	rp.ask(FITS);
	rp.ask(message('B', {client: 'wiki'}));
	await b.answer('unchanged');
	equal(rp.replies, []);
	await b.advance(2000);
	equal(rp.replies, ['changed']);
	await b.advance(60000);
	equal([rp.replies.length, b.requests.length], [1, 2]);
};

scenarios['a later message that is replied to at once takes the place of the one that waits'] = async (open) => {
	const b = open();
	const rp = b.frame();
	rp.ask(DIFFERS);
	equal(rp.ask(FITS), ['unchanged']);
	await b.answer('changed');
	equal(rp.replies, ['unchanged']);
};

scenarios['a later message that is malformed takes the place of the one that waits'] = async (open) => {
	const b = open({cookie: null});
	const rp = b.frame();
	rp.ask(FITS);
	equal(rp.ask('malformed'), ['error']);
	await b.answer('unchanged');
	await b.advance(10000);
	equal([rp.replies, b.requests.length], [['error'], 1]);
};

scenarios['one answer serves all senders that wait for it'] = async (open) => {
	const b = open({cookie: null});
	const frames = [b.frame(), b.frame(), b.frame()];
	for (const f of frames) f.ask(FITS);
	await b.answer('unchanged');
	await b.advance(10000);
	equal(frames.map((f) => f.replies), [['unchanged'], ['unchanged'], ['unchanged']]);
	equal(b.requests.length, 1);
};

scenarios['a message that waits is replied to when the cookie has come to agree, and no answer is needed'] = async (open) => {
	const b = open({cookie: null});
	const rp = b.frame();
	rp.ask(FITS);
	b.cookie = 'B';
	await b.fail();
	equal(rp.replies, ['unchanged']);
};

scenarios['questions that somebody waits for go before those behind a reply'] = async (open) => {
	const b = open();
	b.frame().ask(DIFFERS);
	equal(b.frame().ask(FITS), ['unchanged']);
	b.frame().ask(message('A', {client: 'wiki'}));
	await b.answer('unchanged');
	await b.advance(1000);
	equal(b.requests[1].form.client_id, 'wiki');
	await b.answer('unchanged');
	await b.advance(1000);
	equal(`shop ${b.requests[2].form.session_state}`, FITS);
};

scenarios['a flood of questions that are waited for does not keep those behind a reply from being asked'] = async (open) => {
	const b = open({server: (r) => `shop ${r.form.session_state}` === FITS ? 'changed' : 'unknown'});
	const rp = b.frame(), flood = b.frame(OTHER);
	let n = 0;
	for (let i = 0; i < 300 && !rp.replies.includes('changed'); i++) {
		for (let j = 0; j < 20; j++) flood.ask(`x h${n++}.s`);
		rp.ask(FITS);
		await b.advance(100);
	}
	assert(rp.replies.includes('changed'), 'the server was never asked');
	assertBounded(b, 30000);
};

scenarios['a sender that is gone does no harm to the others'] = async (open) => {
	const b = open({cookie: null});
	const gone = b.frame(), rp = b.frame();
	gone.postMessage = () => {
		throw new Error('gone');
	};
	gone.ask(FITS);
	rp.ask(FITS);
	await b.answer('unchanged');
	equal(rp.replies, ['unchanged']);
};

// No answer.

for (const [name, end] of Object.entries({
	'a network error': (b) => b.fail(),
	'a status that is not 200': (b) => b.answer('changed', 503),
	'a 204': (b) => b.answer('', 204),
	'a 429': (b) => b.answer('error', 429),
	'another word': (b) => b.answer('login'),
	'an empty answer': (b) => b.answer(''),
	'a word with more behind it': (b) => b.answer('changed\n'),
	'a page': (b) => b.answer('<html>changed</html>'),
	'nothing within 5 s': (b) => b.advance(5000),
})) {
	for (const cookie of ['other', null]) {
		scenarios[`${name} is no answer, and gets silence with the cookie ${cookie ? 'different' : 'missing'}`] = async (open) => {
			const b = open({cookie});
			const rp = b.frame();
			rp.ask(FITS);
			await end(b);
			equal(b.requests.filter((r) => r.open).length, 0);
			equal(rp.replies, []);
			await b.advance(2000);
			equal(b.requests.length, 2);
			await b.answer('unchanged');
			equal(rp.replies, ['unchanged']);
		};
	}
}

scenarios['an answer after 5 s is ignored'] = async (open) => {
	for (const without of [[], ['AbortController'], ['fetch']]) {
		const b = open({cookie: null, without});
		const rp = b.frame();
		rp.ask(FITS);
		await b.advance(4999);
		equal(b.requests[0].open, true);
		await b.advance(1);
		b.requests[0].finish(200, 'changed');
		await b.settle();
		equal(rp.replies, []);
		await b.advance(2000);
		b.requests[1].finish(200, 'unchanged');
		await b.settle();
		equal(rp.replies, ['unchanged']);
		equal(rp.ask(FITS), ['unchanged']);
	}
};

scenarios['a request that is given up is aborted'] = async (open) => {
	for (const without of [[], ['fetch']]) {
		const b = open({cookie: null, without});
		b.frame().ask(FITS);
		await b.advance(5000);
		equal(b.requests[0].aborted, true);
	}
};

for (const [name, random, factor] of [['least', 0, 1], ['most', 0.999999, 1.5]]) {
	scenarios[`requests without answer back off from 1 s, doubling, to at most 60 s: ${name} spread`] = async (open) => {
		const b = open({cookie: null, random: () => random});
		const rp = b.frame();
		rp.ask(FITS);
		for (let i = 0; i < 9; i++) {
			await b.fail();
			for (let ms = 0; ms < 61000 && b.requests.length < i + 2; ms += 100) {
				await b.advance(100);
				rp.ask(FITS);
			}
		}
		const want = [1, 2, 4, 8, 16, 32, 40, 40, 40].map((s) => s * 1000 * factor);
		gaps(b).forEach((gap, i) => assert(gap >= want[i] - 1 && gap <= want[i] + 100, `${gaps(b)} for ${want}`));
		assert(Math.max(...gaps(b)) <= 60000);
		equal(rp.replies, []);
	};
}

scenarios['an answer ends the back-off'] = async (open) => {
	const b = open({cookie: null, random: () => 0});
	const rp = b.frame();
	rp.ask(FITS);
	for (const pause of [1000, 2000, 4000]) {
		await b.fail();
		await b.advance(pause);
	}
	equal(b.requests.length, 4);
	await b.answer('unchanged');
	await b.advance(8000);
	rp.ask(FITS);
	await b.fail();
	await b.advance(1000);
	equal(b.requests.length, 6);
};

scenarios['a cookie that agrees is unchanged while the server is away, and the server is asked again'] = async (open) => {
	const b = open({random: () => 0});
	const rp = b.frame();
	equal(rp.ask(FITS), ['unchanged']);
	await b.fail();
	equal(rp.ask(FITS), ['unchanged']);
	equal(b.requests.length, 1);
	await b.advance(1000);
	equal(rp.ask(FITS), ['unchanged']);
	equal(b.requests.length, 2);
	await b.answer('changed');
	equal(rp.ask(FITS), ['changed']);
};

scenarios['a question behind a reply is not repeated without a message'] = async (open) => {
	const b = open();
	b.frame().ask(FITS);
	await b.fail();
	await b.advance(600000);
	equal(b.requests.length, 1);
};

// Floods.

scenarios['10,000 messages from one sender with distinct states are bounded'] = async (open) => {
	const b = open({cookie: 'other', server: () => 'unknown'});
	const flood = b.frame();
	for (let i = 0; i < 10000; i++) {
		flood.ask(`shop hash${i}.salt`);
		if (i % 500 === 499) await b.advance(250);
	}
	await b.advance(60000);
	assertBounded(b, 6000);
	equal(b.timers.size, 0);
};

scenarios['10,000 messages from 20 senders are bounded, and at most 8 wait'] = async (open) => {
	const b = open({cookie: null, server: () => 'unknown'});
	const senders = Array.from({length: 20}, () => b.frame());
	for (let i = 0; i < 10000; i++) senders[i % 20].ask(`shop hash${i}.salt`);
	await b.advance(60000);
	assertBounded(b, 8000);
	equal(b.timers.size, 0);
};

scenarios['10,000 messages from a window outside the frame tree do nothing at all'] = async (open) => {
	const b = open({cookie: null, server: () => 'unchanged'});
	const opener = b.frame(RP, {});
	const rp = b.frame();
	for (let i = 0; i < 10000; i++) opener.ask(`shop hash${i}.salt`);
	rp.ask(FITS);
	await b.settle();
	equal([opener.replies.length, rp.replies, b.requests.length], [0, ['unchanged'], 1]);
};

scenarios['10,000 messages from a foreign frame do not keep the RP from its reply'] = async (open) => {
	const b = open({cookie: null, server: (r) => r.form.client_id === 'shop' ? 'unchanged' : 'unknown'});
	const rp = b.frame(), foreign = b.frame(OTHER);
	for (let i = 0; i < 10000; i++) {
		foreign.ask(`x hash${i}.salt`);
		if (i === 100) rp.ask(FITS);
		if (i % 1000 === 999) await b.advance(300);
	}
	equal(rp.replies, ['unchanged']);
	assertBounded(b, 3000);
};

scenarios['senders are served in turn'] = async (open) => {
	const b = open({cookie: null});
	const clients = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
	const frames = clients.map(() => b.frame());
	for (let i = 0; i < 240; i++) {
		// The first posts far more than the others, and always first.
		for (let j = 0; j < 50; j++) frames[0].ask(`a h${i}-${j}.s`);
		frames.forEach((f, n) => f.ask(`${clients[n]} h${i}.s`));
		// By now the sender that was asked for has a later message.
		if (b.requests.some((r) => r.open)) await b.answer('unknown');
		await b.advance(100);
	}
	const counts = {};
	for (const r of b.requests) counts[r.form.client_id] = (counts[r.form.client_id] || 0) + 1;
	for (const c of clients) assert(Math.abs(counts[c] - b.requests.length / 8) <= 1, JSON.stringify(counts));
	assertBounded(b, 24000);
};

scenarios['a flood cannot push out an answer faster than one a second'] = async (open) => {
	const b = open({cookie: 'other', server: (r) => r.form.client_id === 'shop' ? 'changed' : 'unknown'});
	const rp = b.frame(), flood = b.frame(OTHER);
	rp.ask(FITS);
	await b.settle();
	for (let i = 0; i < 10000; i++) flood.ask(`x hash${i}.salt`);
	await b.advance(1000);
	equal(rp.ask(FITS), ['changed']);
	equal(b.requests.filter((r) => r.form.client_id === 'shop').length, 1);
};

scenarios['the table of answers is bounded: the oldest goes out'] = async (open) => {
	const b = open({cookie: 'other', server: () => 'changed'});
	const rp = b.frame();
	for (let i = 0; i < 65; i++) {
		rp.ask(`shop hash${i}.salt`);
		await b.advance(2000);
	}
	equal(b.requests.length, 65);
	equal(rp.ask('shop hash1.salt'), ['changed']);
	equal(b.requests.length, 65);
	equal(rp.ask('shop hash0.salt'), []);
	equal(b.requests.length, 66);
};

scenarios['an answer that is had again and again pushes out no other'] = async (open) => {
	const b = open({cookie: null, server: (r) => r.form.client_id === 'shop' ? 'changed' : 'unchanged'});
	const rp = b.frame(), other = b.frame(OTHER);
	rp.ask(FITS);
	await b.advance(2000);
	for (let i = 0; i < 70; i++) {
		other.ask('wiki hash.salt');
		await b.advance(13000);
	}
	equal(b.requests.length, 71);
	equal(rp.ask(FITS), ['changed']);
};

scenarios['a flood of malformed messages makes no requests'] = async (open) => {
	const b = open();
	const flood = b.frame();
	for (let i = 0; i < 10000; i++) flood.ask('malformed' + i);
	await b.advance(10000);
	equal([flood.replies.length, b.requests.length, b.timers.size], [10000, 0, 0]);
};

// Requests.

scenarios['a request is a form, posted to the path of the page, without cookies'] = async (open) => {
	const b = open({cookie: null});
	b.frame(RP).ask(`a&b=c +\u00e9\u{1f600} h%.s&t`);
	const [r] = b.requests;
	equal([r.via, r.method, r.url, r.credentials], ['fetch', 'POST', PAGE_PATH, 'omit']);
	equal({...r.headers}, {'Content-Type': 'application/x-www-form-urlencoded'});
	equal(r.form, {client_id: 'a&b=c +\u00e9\u{1f600}', session_state: 'h%.s&t', origin: RP, browser_state: ''});
};

scenarios['unchanged by the server holds for the cookie it was asked with only'] = async (open) => {
	const b = open({cookie: 'B'});
	const rp = b.frame();
	equal(rp.ask(FITS), ['unchanged']);
	await b.answer('unchanged');
	await b.advance(2000);
	b.cookie = 'signed out';
	equal(rp.ask(FITS), []);
	await b.answer('changed');
	equal(rp.replies, ['unchanged', 'changed']);
};

scenarios['the page that the frame is in has its place, however many frames crowd it'] = async (open) => {
	const b = open({cookie: null});
	const crowd = Array.from({length: 20}, () => b.frame(OTHER));
	const rp = b.frame(RP);
	b.window.parent = rp;
	let n = 0;
	for (let second = 0; second < 30; second++) {
		for (const frame of crowd) frame.ask(message('x', {origin: OTHER, salt: 's' + n++}));
		rp.ask(FITS);
		if (b.requests.some((r) => r.form.origin === RP)) return;
		await b.answer('unknown');
		await b.advance(1000);
	}
	assert.fail('the page was never asked about');
};

scenarios['a request names the browser state where it can be read'] = async (open) => {
	const b = open({cookie: 'other state'});
	b.frame(RP).ask(FITS);
	equal(b.requests[0].form.browser_state, 'other state');
};

scenarios['XMLHttpRequest is used where fetch is missing'] = async (open) => {
	const b = open({cookie: 'other', without: ['fetch', 'AbortController']});
	const rp = b.frame();
	rp.ask(FITS);
	const [r] = b.requests;
	equal([r.via, r.method, r.url], ['xhr', 'POST', PAGE_PATH]);
	equal({...r.headers}, {'Content-Type': 'application/x-www-form-urlencoded'});
	equal(`${r.form.client_id} ${r.form.session_state} ${r.form.origin}`, `${FITS} ${RP}`);
	await b.answer('unchanged');
	equal(rp.replies, ['unchanged']);
	await b.advance(20000);
	rp.ask(FITS);
	await b.answer('changed', 500);
	equal(rp.replies, ['unchanged']);
	await b.advance(2000);
	await b.fail();
	await b.advance(3000);
	await b.answer('changed');
	equal(rp.replies, ['unchanged', 'changed']);
};

scenarios['a fetch that throws is no answer'] = async (open) => {
	const b = open({cookie: null});
	const rp = b.frame();
	const fetch = b.window.fetch;
	b.window.fetch = () => {
		throw new TypeError('blocked');
	};
	equal(rp.ask(FITS), []);
	b.window.fetch = fetch;
	await b.advance(2000);
	await b.answer('unchanged');
	equal(rp.replies, ['unchanged']);
};

scenarios['an engine with neither fetch nor XMLHttpRequest is silent where the cookie does not decide'] = async (open) => {
	const b = open({without: ['fetch', 'XMLHttpRequest']});
	const rp = b.frame();
	equal(rp.ask(FITS), ['unchanged']);
	equal(rp.ask(DIFFERS), []);
	await b.advance(60000);
	equal(rp.replies, ['unchanged']);
};

// Loading.

scenarios['the page listens as soon as its script has run, and posts nothing unasked'] = async (open) => {
	const b = open();
	equal(typeof b.window.onmessage, 'function');
	await b.advance(600000);
	equal([b.requests.length, b.timers.size], [0, 0]);
};

scenarios['loading does not throw in a sandboxed frame or an old engine'] = async (open) => {
	const b = open({unreadable: true, without: ['fetch', 'AbortController', 'btoa', 'XMLHttpRequest']});
	equal(b.frame().ask('malformed'), ['error']);
};

scenarios['the script adds no names to the page'] = async (open) => {
	const b = open();
	equal(Object.keys(b.window).filter((k) => !['top', 'location', 'document', 'setTimeout', 'clearTimeout', 'btoa', 'AbortController',
		'fetch', 'XMLHttpRequest', 'window'].includes(k)), ['onmessage']);
};
