// Runs the script of the front-channel page. Standard input: the script. Standard output: a line
// {name, error} for each scenario.
'use strict';

const assert = require('assert');
const fs = require('fs');
const vm = require('vm');

const NEXT = '/oidc/end-session?parked=a&b=</script>';

// Node is an element with attributes and listeners, which get it as `this`.
class Node {
	constructor(attributes) {
		this.attributes = attributes;
		this.listeners = [];
		this.href = 'about:blank';
	}

	getAttribute(name) {
		return this.attributes[name];
	}

	addEventListener(type, listener) {
		this.listeners.push({type, listener});
	}

	fire(type) {
		for (const l of this.listeners) if (l.type === type) l.listener.call(this, {type, target: this});
	}

	// load is what a browser does once a frame has loaded: its document is of another origin.
	load() {
		this.href = null;
		this.fire('load');
	}

	get contentWindow() {
		const {href} = this;
		return {location: {get href() {
			if (href === null) throw new Error('SecurityError');
			return href;
		}}};
	}
}

// open runs the script in a page with some frames.
function open(script, number) {
	const link = new Node({'data-next': NEXT, 'data-timeout': '3000'});
	const frames = Array.from({length: number}, (_, i) => new Node({'data-src': `https://rp${i}.example/`}));
	const note = new Node({'data-progress': '{n} of 5 done'});
	const page = {link, frames, note, went: [], timers: []};
	vm.runInNewContext(script, {
		document: {querySelector: (selector) => ({'a[data-next]': link, '[data-progress]': note})[selector], querySelectorAll: () => frames},
		location: {replace: (to) => page.went.push(to)},
		setTimeout: (run, delay) => page.timers.push({run, delay}),
	});
	return page;
}

const scenarios = {
	'each frame is sent to its address, with a listener there before': (open) => {
		const page = open(2);
		for (const [i, frame] of page.frames.entries()) {
			assert.strictEqual(frame.src, `https://rp${i}.example/`);
			assert.deepStrictEqual(frame.listeners.map((l) => l.type), ['load', 'error']);
		}
		assert.deepStrictEqual(page.went, []);
	},
	'it goes on once all frames have loaded, and not before': (open) => {
		const page = open(3);
		page.frames[2].load();
		page.frames[0].load();
		assert.deepStrictEqual(page.went, []);
		page.frames[1].load();
		assert.deepStrictEqual(page.went, [NEXT]);
	},
	'a frame that fails counts as one that loaded': (open) => {
		const page = open(2);
		page.frames[0].fire('error');
		page.frames[1].load();
		assert.deepStrictEqual(page.went, [NEXT]);
	},
	'an app that sends its frame elsewhere counts once': (open) => {
		const page = open(2);
		page.frames[0].load();
		page.frames[0].load();
		page.frames[0].fire('error');
		assert.deepStrictEqual(page.went, []);
	},
	'the blank page that some browsers load first does not count': (open) => {
		const page = open(1);
		page.frames[0].fire('load');
		assert.deepStrictEqual(page.went, []);
		page.frames[0].load();
		assert.deepStrictEqual(page.went, [NEXT]);
	},
	'it goes on when the time is over': (open) => {
		const page = open(2);
		page.frames[0].load();
		assert.deepStrictEqual(page.timers[0].delay, 3000);
		page.timers[0].run();
		assert.deepStrictEqual(page.went, [NEXT]);
	},
	'how many have loaded is noted, once a second at most': (open) => {
		const page = open(5);
		page.frames[0].load();
		page.frames[1].load();
		assert.strictEqual(page.note.textContent, undefined);
		assert.deepStrictEqual(page.timers.slice(1).map((t) => t.delay), [1000]);
		page.timers[1].run();
		assert.strictEqual(page.note.textContent, '2 of 5 done');
		page.frames[2].load();
		assert.strictEqual(page.timers.length, 3);
		page.timers[2].run();
		assert.strictEqual(page.note.textContent, '3 of 5 done');
		page.frames[3].load();
		page.frames[4].load();
		assert.deepStrictEqual([page.timers.length, page.went.length], [4, 1]);
	},
	'it goes on only once': (open) => {
		const page = open(1);
		page.frames[0].load();
		page.timers[0].run();
		page.frames[0].load();
		assert.deepStrictEqual(page.went, [NEXT]);
		const late = open(1);
		late.timers[0].run();
		late.frames[0].load();
		assert.deepStrictEqual(late.went, [NEXT]);
	},
};

const script = fs.readFileSync(0, 'utf8');
for (const [name, run] of Object.entries(scenarios)) {
	let error = '';
	try {
		run((number) => open(script, number));
	} catch (x) {
		error = String(x && x.stack || x);
	}
	process.stdout.write(JSON.stringify({name, error}) + '\n');
}
