// What the demo's page shows beside the status: the time of the last answer, and what happened so far.
(function () {
	"use strict";

	const time = document.getElementById("session-time");
	const log = document.getElementById("session-log");
	let lastText = "";

	document.addEventListener("session", function (e) {
		const now = new Date().toLocaleTimeString();
		time.textContent = now;
		if (e.detail.text === lastText) {
			return;
		}
		lastText = e.detail.text;
		const entry = document.createElement("li");
		entry.textContent = now + "  " + lastText;
		log.prepend(entry);
		while (log.children.length > 8) {
			log.lastElementChild.remove();
		}
		if (e.detail.state === "signed-out") {
			document.getElementById("signed-in").hidden = true;
			document.getElementById("signed-out").hidden = false;
			document.title = "Signed out";
		}
	});
})();
