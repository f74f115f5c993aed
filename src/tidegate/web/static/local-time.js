// <time datetime="..." data-local> is rendered in UTC; here it becomes the reader's own time zone.

function localise() {
  for (const element of document.querySelectorAll("time[data-local]")) {
    const moment = new Date(element.dateTime);
    if (Number.isNaN(moment.getTime())) continue;
    element.title = element.textContent.trim();
    element.textContent = new Intl.DateTimeFormat(document.documentElement.lang || undefined, {
      dateStyle: "medium",
      timeStyle: "short",
    }).format(moment);
  }
}

localise();
document.addEventListener("renewed", localise);
