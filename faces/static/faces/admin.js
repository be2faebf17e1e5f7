// What Django's own widgets leave out for screen readers: names for the parts their scripts draw.
(() => {
  const nameOf = (select) => select.closest(".pair")?.querySelector("label")?.textContent.trim() || select.name;

  const mend = () => {
    for (const icon of document.querySelectorAll(".search-label-icon")) icon.setAttribute("role", "img");
    for (const select of document.querySelectorAll("select.admin-autocomplete.select2-hidden-accessible")) {
      const box = select.nextElementSibling.querySelector("[role=combobox]");
      const shown = box.querySelector(".select2-selection__rendered");
      for (const attribute of ["role", "aria-readonly"]) shown?.removeAttribute(attribute); // a text box without a name
      box.removeAttribute("aria-labelledby");
      box.setAttribute("aria-label", [nameOf(select), shown?.textContent.trim()].filter(Boolean).join(": "));
      const list = box.getAttribute("aria-owns"); // only while it is open
      if (list) box.setAttribute("aria-controls", list);
    }
  };

  addEventListener("load", () => {
    mend();
    const $ = window.django?.jQuery;
    $?.(mend); // after what jQuery still has to do, which may be later than this event
    $?.(document).on("select2:open", (event) => {
      mend();
      for (const part of document.querySelectorAll(".select2-dropdown :is(.select2-search__field, .select2-results__options)"))
        part.setAttribute("aria-label", nameOf(event.target));
    }).on("select2:select select2:unselect", mend);
  });
  document.addEventListener("formset:added", () => setTimeout(mend));
})();
