// Signing in: find the wallets of this browser (EIP-6963, or the one at window.ethereum), let one sign, send the signature.
const form = document.querySelector("[data-sign-in]");
const list = form.querySelector("[data-wallets]");
const notes = document.querySelector("[data-notes]");
const USED = "faces-wallet"; // which wallet signed in, for wallet-watch.js
const DECLINED = 4001; // EIP-1193 §Provider Errors
const BUSY = -32002; // EIP-1474: what wallets answer while a request of this page is still open in them
const FIND_MS = 400;
const PATIENCE_MS = 15_000;
const LONGEST = 160;
let found = 0;
let attempts = 0;

class NoService extends Error {}

const note = (name, place = "") => {
  const shown = document.querySelector(`template[data-note=${name}]`).content.cloneNode(true);
  const spot = shown.querySelector("[data-place]");
  if (spot) spot.textContent = place;
  notes.replaceChildren(shown);
};

const hex = (text) => "0x" + [...new TextEncoder().encode(text)].map((byte) => byte.toString(16).padStart(2, "0")).join("");

const remember = (id) => {
  try {
    localStorage.setItem(USED, id);
  } catch {
    // storage is shut: then nobody watches for another account, and that is all
  }
};

const ask = async (path) => {
  try {
    return await fetch(path);
  } catch {
    throw new NoService("it could not be reached");
  }
};

const fresh = async (address, chain) => {
  let answer = await ask(`/auth/nonce/${encodeURIComponent(address)}?chain_id=${chain}`);
  if (answer.status === 400) {
    answer = await ask(`/auth/nonce/${encodeURIComponent(address)}`); // to sign in, any network will do
    if (answer.ok) note("network");
  }
  if (!answer.ok) throw new NoService(`it answered ${answer.status}`);
  return (await answer.json()).data;
};

// Wallets throw what they like: errors, objects, texts, nothing.
const words = (error) => {
  const said = typeof error === "string" ? error : (error?.data?.message ?? error?.message);
  if (typeof said === "string" && said.trim()) return said.length > LONGEST ? `${said.slice(0, LONGEST)}…` : said;
  return error?.code === undefined ? "nothing" : `error ${error.code}`;
};

const account = async (provider, method) => {
  const accounts = await provider.request({ method });
  return Array.isArray(accounts) ? accounts[0] : undefined;
};

const signIn = async (provider, isCurrent) => {
  const address = await account(provider, "eth_requestAccounts");
  if (!isCurrent()) return;
  if (typeof address !== "string") return note("unconnected");
  const chain = Number(await provider.request({ method: "eth_chainId" })) || 1;
  const { message, nonce } = await fresh(address, chain);
  const domain = message.split(" wants you", 1)[0].replace(/^.*:\/\//, "");
  if (!isCurrent()) return;
  if (domain !== location.host) return note("domain", domain);
  const signature = await provider.request({ method: "personal_sign", params: [hex(message), address] });
  const still = await account(provider, "eth_accounts");
  if (!isCurrent()) return;
  if (still && still.toLowerCase() !== address.toLowerCase()) return note("changed");
  Object.assign(form.elements.address, { value: address });
  Object.assign(form.elements.signature, { value: signature });
  Object.assign(form.elements.nonce, { value: nonce });
  form.submit();
};

// One attempt at a time: a wallet that answers after its owner picked again is not listened to.
const attempt = async (button, provider, id) => {
  const mine = ++attempts;
  const isCurrent = () => mine === attempts;
  button.disabled = true;
  notes.replaceChildren();
  const waiting = setTimeout(() => {
    if (isCurrent()) note("waiting");
    button.disabled = false;
  }, PATIENCE_MS);
  try {
    remember(id);
    await signIn(await provider(), isCurrent);
  } catch (error) {
    if (!isCurrent()) return;
    if (error instanceof NoService) note("service", error.message);
    else if (error?.code === DECLINED) note("declined");
    else if (error?.code === BUSY) note("waiting");
    else note("failed", words(error));
  } finally {
    clearTimeout(waiting);
    button.disabled = false;
  }
};

const offer = ({ info, provider }) => {
  if (list.querySelector(`[data-id="${CSS.escape(info.uuid)}"]`)) return;
  if (!found && notes.querySelector("[data-none]")) notes.replaceChildren(); // it came late
  found += 1;
  const button = document.querySelector("template[data-wallet]").content.firstElementChild.cloneNode(true);
  button.dataset.id = info.uuid;
  button.querySelector("span").textContent = info.name;
  const image = button.querySelector("img");
  if (info.icon?.startsWith("data:image/")) image.src = info.icon;
  else image.remove();
  button.addEventListener("click", () => attempt(button, async () => provider, info.rdns ?? info.uuid));
  provider.on?.("chainChanged", () => notes.childElementCount || note("network"));
  list.append(button);
};

addEventListener("eip6963:announceProvider", (event) => offer(event.detail));
dispatchEvent(new Event("eip6963:requestProvider"));
setTimeout(() => {
  if (!found && window.ethereum) offer({ info: { uuid: "window.ethereum", name: "Browser wallet" }, provider: window.ethereum });
  if (!found && !notes.childElementCount) note("none");
}, FIND_MS);

const throwaway = document.querySelector("[data-throwaway]");
if (throwaway) {
  throwaway.closest("[hidden]").hidden = false;
  throwaway.addEventListener("click", () =>
    attempt(throwaway, async () => (await import(throwaway.dataset.throwaway)).provider, ""),
  );
}
