// When the countdown reveals the form, what was said before the opening makes room for what is said after it.
// Both stand in the same place from the start, so that nothing moves.

const form = document.getElementById("buy");

function swap() {
  if (!form || form.hasAttribute("data-waiting")) return;
  for (const element of document.querySelectorAll("[data-before]")) element.setAttribute("data-waiting", "");
  for (const element of document.querySelectorAll("[data-after]")) element.removeAttribute("data-waiting");
}

if (form) new MutationObserver(swap).observe(form, { attributes: true, attributeFilter: ["data-waiting"] });
