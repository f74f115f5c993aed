// Messages as they come: the count beside the link to the inbox, a word for screen readers, and the inbox itself.
//
// One tab of a browser listens for all of them, and hands on what it hears; when it is closed, another one takes over.
// Where browsers cannot agree on one, each tab listens while it is looked at, and the server ends the older stream.

const NAME = "tidegate-inbox";
const ADDRESS = "/api/v1/inbox/events";
const SETTLED_MS = 2000;
const PAUSES_S = [20, 60, 180, 600];
const MOST_SEEN = 200;
const KEPT_S = 30 * 86400;

const region = document.querySelector("[data-inbox]");
const said = document.querySelector("[data-inbox-said]");
const counts = document.querySelectorAll("[data-unread-count]");
const number = new Intl.NumberFormat(document.documentElement.lang || undefined);
const tabs = navigator.locks && "BroadcastChannel" in window ? new BroadcastChannel(NAME) : null;
const seen = new Set();
let source = null;
let unread = null;
let position = "";
let failures = 0;
let resting = false;
let give = () => {};
let planned = 0;

function show(count) {
  unread = count;
  for (const element of counts) {
    element.textContent = number.format(count);
    element.hidden = !count;
  }
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `tidegate_unread=${count || ""}; path=/; max-age=${count ? KEPT_S : 0}; samesite=lax${secure}`;
  if (region && Number(region.dataset.inbox) !== count) renew();
}

function announce(message) {
  if (seen.has(message.id)) return;
  if (seen.size >= MOST_SEEN) seen.clear();
  seen.add(message.id);
  if (said) said.textContent = `${said.dataset.inboxSaid} ${message.subject}`;
  renew();
}

// The page is fetched anew a moment later, not by all tabs of a crowd at once, and not under somebody's hands.
function renew() {
  if (!region || planned) return;
  planned = setTimeout(replace, 100 + 900 * Math.random());
}

async function replace() {
  planned = 0;
  if (document.hidden) return document.addEventListener("visibilitychange", renew, { once: true });
  if (region.contains(document.activeElement)) return region.addEventListener("focusout", renew, { once: true });
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" }, signal: AbortSignal.timeout(10000) });
    if (!answer.ok || answer.redirected) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.querySelector("[data-inbox]");
    if (!fresh || region.contains(document.activeElement)) return;
    region.replaceChildren(...fresh.childNodes);
    region.dataset.inbox = fresh.dataset.inbox;
    region.dispatchEvent(new CustomEvent("renewed", { bubbles: true }));
  } catch {
    // The next message tries again, and so does a visit to the page.
  }
}

function take({ kind, data, at }) {
  if (at) position = at;
  if (kind === "message") announce(data);
  else if (kind === "more") renew();
  else if (kind === "unread") show(data.unread);
}

function tell(kind, event) {
  const heard = { kind, data: JSON.parse(event.data), at: event.lastEventId };
  take(heard);
  tabs?.postMessage(heard);
}

function listen() {
  if (source) return;
  resting = false;
  source = new EventSource(position ? `${ADDRESS}?after=${position}` : ADDRESS);
  for (const kind of ["message", "more", "unread"]) source.addEventListener(kind, (event) => tell(kind, event));
  source.addEventListener("replaced", rest);
  source.addEventListener("signed-out", () => {
    rest();
    resting = false;
  });
  source.onopen = () => {
    failures = 0;
  };
  source.onerror = () => {
    if (source?.readyState !== EventSource.CLOSED) return; // it comes back by itself
    source = null;
    const pauseS = PAUSES_S[Math.min(failures++, PAUSES_S.length - 1)];
    setTimeout(() => !resting && listen(), pauseS * (500 + 1000 * Math.random()));
  };
}

// Another stream of this browser took over: listen again when somebody looks here.
function rest() {
  source?.close();
  source = null;
  resting = true;
}

function begin() {
  if (tabs) {
    navigator.locks.request(NAME, () => new Promise((resolve) => {
      give = resolve;
      listen();
    }));
    tabs.postMessage({ kind: "hello" });
  } else if (!document.hidden) listen();
}

if (tabs) {
  tabs.onmessage = ({ data }) => {
    if (data.kind !== "hello") take(data);
    else if (source && unread !== null) tabs.postMessage({ kind: "unread", data: { unread }, at: position });
  };
}
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && (resting || !tabs)) listen();
});
addEventListener("pagehide", () => {
  rest();
  resting = false;
  give();
});
addEventListener("pageshow", (event) => event.persisted && begin());
// Who goes on to another page at once need not listen here.
if (counts.length || region) setTimeout(begin, region ? 0 : SETTLED_MS);
