// Faces: small manners on top of pages that already work without it.
(() => {
  const $$ = (q, root = document) => root.querySelectorAll(q);

  // Forms that say all there is to say with one choice.
  for (const field of $$("[data-submit]")) field.addEventListener("change", () => field.form.requestSubmit());

  // One polite voice for things said in passing.
  const say = (text) => {
    let box = document.querySelector(".toasts");
    if (!box) {
      box = Object.assign(document.createElement("div"), { className: "toasts" });
      box.setAttribute("role", "status");
      document.body.append(box);
    }
    const toast = Object.assign(document.createElement("p"), { className: "toast", textContent: text });
    box.replaceChildren(toast);
    setTimeout(() => toast.remove(), 6000);
  };

  document.addEventListener("click", async (event) => {
    const copy = event.target.closest("[data-copy]");
    if (copy) {
      const from = copy.dataset.copy ? document.querySelector(copy.dataset.copy) : copy.parentElement.querySelector("code");
      try {
        await navigator.clipboard.writeText(from.textContent);
        say("Copied");
      } catch {
        getSelection().selectAllChildren(from); // no clipboard permission: select, so Ctrl+C works
        say("Selected. Press Ctrl+C to copy.");
      }
    }
    const ask = event.target.closest("[data-dialog]");
    if (ask) { event.preventDefault(); document.getElementById(ask.dataset.dialog).showModal(); }
    if (event.target.closest("[data-print]")) print();
    for (const menu of $$(".menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of $$(".menu[open]")) { menu.open = false; menu.querySelector("summary").focus(); }
  });

  // Forms that move money, make a key or end one are sent once: until the answer is there, the button says what goes on.
  const busy = new Map();
  document.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (!button?.dataset.busy) return;
    if (busy.has(button)) return event.preventDefault();
    busy.set(button, [...button.childNodes]);
    button.replaceChildren(button.dataset.busy);
    button.setAttribute("aria-busy", "true");
    setTimeout(() => { button.disabled = true; }); // not before the form is read
  });
  addEventListener("pageshow", () => {
    for (const [button, words] of busy) {
      button.replaceChildren(...words);
      button.disabled = false;
      button.removeAttribute("aria-busy");
    }
    busy.clear();
  });

  // Charts: read one day by pointer or by arrow keys. The figures are already in the page.
  for (const chart of $$("[data-chart]")) {
    const svg = chart.querySelector("svg[role=img]"), out = chart.querySelector("[data-out]");
    const days = [...$$(".day", svg)], rest = [...out.childNodes];
    let at = -1;
    const show = (i) => {
      days[at]?.classList.remove("on");
      at = i;
      if (at < 0) return out.replaceChildren(...rest);
      days[at].classList.add("on");
      const [day, ...what] = days[at].dataset.read.split(":");
      const bold = Object.assign(document.createElement("b"), { textContent: day });
      out.replaceChildren(bold, what.join(":"));
    };
    for (const title of $$("title", svg)) title.remove(); // the readout says it better
    svg.setAttribute("tabindex", "0");
    svg.addEventListener("pointermove", (e) => { const d = e.target.closest(".day"); if (d) show(days.indexOf(d)); });
    svg.addEventListener("pointerleave", () => show(-1));
    svg.addEventListener("blur", () => show(-1));
    svg.addEventListener("keydown", (e) => {
      const to = { ArrowLeft: at < 0 ? days.length - 1 : Math.max(at - 1, 0), ArrowRight: Math.min(at + 1, days.length - 1), Home: 0, End: days.length - 1, Escape: -1 }[e.key];
      if (to === undefined) return;
      e.preventDefault();
      show(to);
    });
  }
})();
