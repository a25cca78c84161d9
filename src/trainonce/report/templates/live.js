"use strict";
// Keeps the page what the server says that it is. Facts have names; an element says in data-bind
// which facts it shows, and how. Nothing that a study holds is ever read as HTML.
(() => {
  const setters = {
    text: (element, fact) => { element.textContent = fact; },
    state: (element, fact) => { element.dataset.state = fact; },
    hidden: (element, fact) => { element.toggleAttribute("hidden", fact); },
    // not disabled: who came to a button by keyboard would lose their place
    off: (element, fact) => { element.setAttribute("aria-disabled", fact); },
    value: (element, fact) => { element.value = fact; },
    points: (element, fact) => { element.setAttribute("points", fact); },
    d: (element, fact) => { element.setAttribute("d", fact); },
  };
  const shows = new Map();
  for (const element of document.querySelectorAll("[data-bind]")) {
    const [how, name] = element.dataset.bind.split(" ");
    if (!shows.has(name)) shows.set(name, []);
    shows.get(name).push([element, setters[how]]);
  }

  const { page, structure } = document.body.dataset;
  const line = document.getElementById("line");
  const events = new EventSource(`/events/${encodeURIComponent(page)}`);
  events.addEventListener("open", () => { line.textContent = "Connected: this page keeps itself up to date."; });
  events.addEventListener("error", () => {
    line.textContent = events.readyState === EventSource.CLOSED
      ? "Not connected: reload the page to see it as it is now."
      : "Not connected: trying again.";
  });
  events.addEventListener("message", ({ data }) => {
    const facts = JSON.parse(data);
    if ("structure" in facts && facts.structure !== structure) {
      location.reload();
      return;
    }
    for (const [name, fact] of Object.entries(facts)) {
      for (const [element, set] of shows.get(name) ?? []) set(element, fact);
    }
  });

  const token = document.querySelector("meta[name=token]").content;
  const note = document.getElementById("control");
  for (const button of document.querySelectorAll("[data-post]")) {
    button.addEventListener("click", async () => {
      button.setAttribute("aria-busy", "true");
      try {
        const answer = await fetch(button.dataset.post, {
          method: "POST",
          headers: { "X-TrainOnce-Token": token },
        });
        const text = await answer.text();
        note.textContent = answer.headers.get("content-type") === "application/json"
          ? JSON.parse(text).note
          : text;
      } catch {
        note.textContent = "The server was not reached.";
      }
      button.removeAttribute("aria-busy");
    });
  }
})();
