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
