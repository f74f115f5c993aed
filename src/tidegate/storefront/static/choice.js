// Choosing options: says at once what goes together, by asking the page of the choice and taking over its words. Without
// this script the form says it when it is sent.

const form = document.querySelector("form[data-choice]");
let asked = 0;

async function follow() {
  const turn = ++asked;
  const chosen = new FormData(form);
  const address = new URL(form.dataset.choice, location.href);
  for (const [name, value] of chosen) if (/^option-\d+$/.test(name)) address.searchParams.set(name, value);
  const response = await fetch(address, { headers: { accept: "text/html" } });
  if (!response.ok || turn !== asked) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  if (turn !== asked) return;
  for (const part of page.querySelectorAll("[data-choice-part]")) {
    const here = document.getElementById(part.id);
    if (here && here.textContent !== part.textContent) here.replaceChildren(...part.childNodes);
  }
  history.replaceState(null, "", address);
}

form?.addEventListener("change", (event) => {
  if (/^option-\d+$/.test(event.target.name)) follow().catch(() => {});
});
