// <div data-live="10">: fetched anew every 10 seconds and put in the place of the old one, while somebody looks.

const SLOWEST_S = 60;

function follow(region) {
  const pauseS = Math.max(1, Number(region.dataset.live) || 10);
  let waitS = pauseS;

  async function renew() {
    if (document.hidden || region.contains(document.activeElement)) return plan();
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" }, signal: AbortSignal.timeout(pauseS * 1000) });
      if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById(region.id);
      if (!fresh) throw new Error("no region");
      region.replaceChildren(...fresh.childNodes);
      region.dispatchEvent(new CustomEvent("renewed", { bubbles: true }));
      region.classList.remove("live-late");
      waitS = pauseS;
    } catch {
      region.classList.add("live-late");
      waitS = Math.min(waitS * 2, SLOWEST_S);
    }
    plan();
  }

  function plan() {
    setTimeout(renew, waitS * 1000);
  }
  plan();
}

for (const region of document.querySelectorAll("[data-live]")) follow(region);
