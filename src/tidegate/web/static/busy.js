// The page of a shop that is full: it asks again by itself, at a moment of its own.

const SPREAD_MS = 1500;

for (const said of document.querySelectorAll('[data-ask-again-s]')) {
  said.hidden = false;
  const waitMs = Number(said.dataset.askAgainS) * 1000 + Math.random() * SPREAD_MS;
  setTimeout(() => location.reload(), waitMs);
}
