// Runs the scenarios of check_session_test.js, or compares session_state with given vectors.
// Standard input: {script, vectors}. Standard output: a line {name, error} for each.
'use strict';

const assert = require('assert');
const fs = require('fs');
const {Browser} = require('./browser.js');

async function main() {
	const input = JSON.parse(fs.readFileSync(0, 'utf8'));
	if (input.vectors) return vectors(input);
	const scenarios = require('./scenarios.js');
	for (const [name, run] of Object.entries(scenarios)) {
		let error = '';
		try {
			await run((options) => new Browser({script: input.script, ...options}));
		} catch (x) {
			error = String(x && x.stack || x);
		}
		process.stdout.write(JSON.stringify({name, error}) + '\n');
	}
}

// vectors posts each vector's message with its cookie: the page replies `unchanged` at once if it
// computes the same.
function vectors({script, vectors}) {
	const browser = new Browser({script, server: () => null});
	for (const v of vectors) {
		browser.cookie = v.browser_state;
		const frame = browser.frame(v.origin);
		let error = '';
		try {
			assert.deepStrictEqual(frame.ask(`${v.client_id} ${v.session_state}`), ['unchanged']);
			browser.cookie = v.browser_state + 'x';
			assert.deepStrictEqual(frame.ask(`${v.client_id} ${v.session_state}`), []);
		} catch (x) {
			error = String(x);
		}
		process.stdout.write(JSON.stringify({name: v.name, error}) + '\n');
	}
}

main();
