// What a hostile page does: it posts messages of the right form to a check page, each with another session state.
'use strict';

// What the check page replied to it.
const replies = [];
addEventListener('message', (event) => {
	if (typeof event.data === 'string') replies.push(event.data);
});

let posted = 0;

// flood posts so many messages, five hundred a second: ten thousand take longer than any answer is kept. target returns the check page's window, or throws while there
// is none.
async function flood(count, target) {
	while (posted < count) {
		try {
			for (let i = 0; i < 50; i++) target().postMessage('shop hash.' + posted++, '*');
		} catch {
			// The page is under way.
		}
		await new Promise((resolve) => setTimeout(resolve, 100));
	}
}
