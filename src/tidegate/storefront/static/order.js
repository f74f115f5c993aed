// Looks at the order's own page until its state is another one, then shows that. Bounded: after a while only the link is left.
//
// <section data-follow data-state="awaiting_payment">

const PAUSES_MS = [1000, 1500, 2000, 3000];
const MOST_LOOKS = 120;
const section = document.querySelector("[data-follow]");

let notBefore_ms = 0;

async function stateNow() {
  const answer = await fetch(location.pathname, { headers: { accept: "text/html" } });
  if (!answer.ok) {
    notBefore_ms = (Number(answer.headers.get("retry-after")) || 0) * 1000;
    return null;
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  return page.querySelector("[data-state]")?.dataset.state ?? null;
}

async function look(count) {
  if (!document.hidden) {
    try {
      const state = await stateNow();
      if (state !== null && state !== section.dataset.state) {
        location.replace(location.pathname);
        return;
      }
    } catch {
      // Offline for a moment: the next look may come through.
    }
  }
  const pause_ms = Math.max(PAUSES_MS[Math.min(count, PAUSES_MS.length - 1)], notBefore_ms);
  notBefore_ms = 0;
  if (count < MOST_LOOKS) setTimeout(look, pause_ms, count + 1);
}

if (section) setTimeout(look, PAUSES_MS[0], 1);
