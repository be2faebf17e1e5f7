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
  const readable = (chart) => {
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
  };
  for (const chart of $$("[data-chart]")) readable(chart);

  // Partial updates: htmx asks for a whole page and puts some parts of it in place of those that stand here.
  const whose = (page) => page.querySelector("[data-account]")?.dataset.account;
  const put = (part, text) => { part.textContent = text; };
  let doubt = null, firstRow = null;

  const stays = ({ sourceElement, request }, why) => {
    if (doubt?.isConnected && doubt.dataset.why === why) return; // said once, however often it is tried
    doubt?.remove();
    doubt = document.getElementById("not-updated").content.firstElementChild.cloneNode(true);
    put(doubt.querySelector("span"), doubt.dataset.why = why);
    doubt.querySelector("a").href = request.method === "GET" ? request.action : location.href;
    (sourceElement.closest("[data-live], .filters, .head, .sheet") ?? document.querySelector("main > *")).after(doubt);
  };

  // A link that is to open elsewhere is the browser's: htmx 4.0.1 would stop it and then do nothing.
  addEventListener("click", (event) => {
    if ((event.ctrlKey || event.metaKey || event.shiftKey) && event.target.closest("a[hx-get]")) event.stopPropagation();
  }, true);

  // Money moves while a call runs; nobody is there to see it in a tab that is not in front.
  document.addEventListener("htmx:before:request", (event) => {
    if (document.hidden && event.target.matches("[data-live]")) event.preventDefault();
  });
  document.addEventListener("htmx:error", ({ detail: { ctx } }) => {
    if (ctx) stays(ctx, "No answer came: you may be offline.");
  });
  document.addEventListener("htmx:before:swap", (event) => {
    const { ctx, tasks } = event.detail, { raw } = ctx.response;
    const page = new DOMParser().parseFromString(ctx.text, "text/html");
    const main = tasks.find(({ type }) => type === "main");
    firstRow = main?.fragment.firstElementChild;
    if (!firstRow || whose(page) !== whose(document)) {
      event.preventDefault();
      // Another page than this: the way in after a session ended, somebody else's, or one that went on. It is shown whole.
      if (raw.ok) location.assign(raw.url);
      else stays(ctx, `The service answered ${raw.status}.`);
      return;
    }
    doubt?.remove();
    // A chart that somebody reads stays as it is.
    const read = tasks.findIndex(({ target }) => target?.querySelector?.("[data-chart]") && target.matches(":hover, :focus-within, :has(details[open])"));
    if (read >= 0 && tasks[read] !== main) tasks.splice(read, 1);
    for (const note of $$("main > .note[role=status]", page)) say(note.textContent.trim());
  });
  document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
    for (const chart of $$("[data-chart]:not(:has([tabindex]))")) readable(chart);
    for (const sum of $$("[data-rows]")) put(sum, sum.textContent.replace(/^[\d,]+ lines?/, `${$$(sum.dataset.rows).length} lines`));
    if (ctx.swap === "beforeend" && document.activeElement === document.body) {
      firstRow.tabIndex = -1; // the link that was used is gone at the end of a list
      firstRow.focus();
    }
  });
})();
