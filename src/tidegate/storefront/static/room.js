// Looks at a room's public status, which is the same small document for everybody, as often as it says, and loads the
// page anew when something changes for this visitor. Without JavaScript the page reloads by itself.

const room = document.querySelector("[data-room]");
const numbers = new Intl.NumberFormat(document.documentElement.lang);
const { phase, stage, paused, opens } = room.dataset;
const number = room.dataset.number ? Number(room.dataset.number) : null;
const UNANSWERED_S = 10;
const SPREAD_MS = 2000;

function show(name, value) {
  const element = room.querySelector(`[data-${name}]`);
  if (element && value !== null) element.textContent = numbers.format(value);
}

function hasChanged(status) {
  if (status.phase !== phase || String(status.paused) !== paused) return true;
  if (stage !== "line") return false;
  return number === null ? status.drawn : status.serving > number;
}

// The rule of `poll`: the distance to the front over `per_s`, or a tenth of the time until the opening.
function pauseOf(status) {
  const { near_s: near, far_s: far, per_s: perSecond, jitter } = status.poll;
  const opensIn = (Date.parse(opens) - Date.parse(status.at)) / 1000;
  const distance = number === null ? Math.max(opensIn, 0) / 10 : Math.max(number - status.serving, 0) / perSecond;
  return Math.min(Math.max(distance, near), far) * (1 + jitter * (2 * Math.random() - 1));
}

async function look() {
  let pause = UNANSWERED_S;
  try {
    const answer = await fetch(room.dataset.room);
    if (answer.ok) {
      const status = await answer.json();
      show("joined", Math.max(status.joined, number ?? 0)); // a second old, while the page is not
      show("left", status.left);
      if (hasChanged(status)) {
        setTimeout(() => location.reload(), Math.random() * SPREAD_MS);
        return;
      }
      pause = pauseOf(status);
    }
  } catch {
    // The network is away: ask again later. The place is kept on the other side.
  }
  setTimeout(look, pause * 1000);
}

if (stage !== "turn") look();
