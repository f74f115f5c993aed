// How many items are in the cart and how many messages are unread, beside the links to them: from cookies, so that pages
// are the same for everybody.

const number = new Intl.NumberFormat(document.documentElement.lang || undefined);
for (const name of ["cart", "unread"]) {
  const count = new RegExp(`(?:^|; )tidegate_${name}=(\\d{1,6})(?:;|$)`).exec(document.cookie)?.[1];
  for (const element of count ? document.querySelectorAll(`[data-${name}-count]`) : []) {
    element.textContent = number.format(Number(count));
    element.hidden = false;
  }
}

// Whoever has an account is told of messages while they look; so is whoever looks into their inbox.
if (/(?:^|; )tidegate_live=1(?:;|$)/.test(document.cookie) || document.querySelector("[data-inbox]")) {
  import("./inbox-live.js");
}
