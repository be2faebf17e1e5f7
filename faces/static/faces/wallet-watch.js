// While signed in: says when the wallet that signed in shows another account. It only looks (eth_accounts), it never asks.
const template = document.querySelector("template[data-wallet-changed]");
const signedIn = template.dataset.walletChanged;
const remembered = () => {
  try {
    return localStorage.getItem("faces-wallet");
  } catch {
    return null;
  }
};
const used = remembered();
let note = null;
let isWatched = false;

const judge = (accounts) => {
  const now = Array.isArray(accounts) ? accounts[0] : undefined; // none: locked, or not connected
  note?.remove();
  note = null;
  if (typeof now !== "string" || now.toLowerCase() === signedIn.toLowerCase()) return;
  note = template.content.firstElementChild.cloneNode(true);
  note.querySelector("[data-now]").textContent = `${now.slice(0, 6)}…${now.slice(-4)}`;
  document.getElementById("main").prepend(note);
};

const watch = (provider) => {
  if (isWatched) return;
  isWatched = true;
  provider.request({ method: "eth_accounts" }).then(judge, () => {});
  provider.on?.("accountsChanged", judge);
};

addEventListener("eip6963:announceProvider", ({ detail: { info, provider } }) => {
  if ((info.rdns ?? info.uuid) === used) watch(provider);
});
dispatchEvent(new Event("eip6963:requestProvider"));
if (used === "window.ethereum" && window.ethereum) watch(window.ethereum);
