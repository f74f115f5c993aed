// Offers the time zone of this device beside the list of time zones.

const offer = document.querySelector("[data-time-zone]");
const list = document.getElementById("field-time_zone");
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

function settle() {
  offer.hidden = list.value === zone;
}

if (offer && list && [...list.options].some((option) => option.value === zone)) {
  offer.querySelector("[data-zone]").textContent = zone;
  offer.querySelector("button").addEventListener("click", () => {
    list.value = zone;
    settle();
    list.focus();
  });
  list.addEventListener("change", settle);
  settle();
}
