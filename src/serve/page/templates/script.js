// Nothing here is needed to read or to do something. It shows times as the reader's clock has them, and makes the parts of the page that are
// marked `data-live` again when something has changed: the server is asked for one small word every few seconds, and for the page only then.
"use strict";
(() => {
  const EVERY = 2000;

  const span = (seconds) =>
    seconds < 120 ? `${Math.round(seconds)} s`
    : seconds < 7200 ? `${Math.floor(seconds / 60)} min`
    : seconds < 172800 ? `${Math.floor(seconds / 3600)} h`
    : `${Math.floor(seconds / 86400)} d`;

  const two = (number) => String(number).padStart(2, "0");

  const local = (at) =>
    `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;

  const times = (root) => {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      const seconds = (Date.now() - at) / 1000;
      const far = Math.abs(seconds) < 1 ? "now" : seconds > 0 ? `${span(seconds)} ago` : `in ${span(-seconds)}`;
      const text = time.classList.contains("far") ? far : local(at);
      if (time.textContent !== text) time.textContent = text;
      const title = time.classList.contains("far") ? local(at) : time.title;
      if (time.title !== title) time.title = title;
    }
  };

  // Makes `old` like `fresh` and keeps its elements: what has the focus keeps it, what is open stays open, what is typed stays.
  const like = (old, fresh) => {
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) return old.replaceWith(fresh.cloneNode(true));
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
    const known = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
    let at = old.firstChild;
    for (const child of [...fresh.childNodes]) {
      const same = child.id && known.get(child.id);
      if (same && same !== at) old.insertBefore(same, at);
      else if (at && !same && at.id && at.id !== child.id) { old.insertBefore(child.cloneNode(true), at); continue; }
      else if (!at) { old.appendChild(child.cloneNode(true)); continue; }
      const next = (same || at).nextSibling;
      like(same || at, child);
      at = next;
    }
    while (at) { const next = at.nextSibling; at.remove(); at = next; }
  };

  const ask = (address) => fetch(address, { headers: { "x-headwater-live": "1" }, redirect: "error", credentials: "same-origin" });

  const again = async () => {
    const answer = await ask(location.href);
    if (!answer.ok) return false;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    times(fresh);
    const focused = document.activeElement;
    for (const part of document.querySelectorAll("main [data-live]")) {
      const other = fresh.getElementById(part.id);
      if (other) like(part, other);
    }
    if (focused && focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
    return true;
  };

  const address = document.body.dataset.live;
  const lives = () => address && document.querySelector("main [data-live]");
  let seen = null;
  let wait = EVERY;

  const look = async () => {
    const began = performance.now();
    try {
      if (lives() && document.visibilityState === "visible") {
        const answer = await ask(address);
        // the session has ended: the page asks for a key
        if (answer.status === 401) return location.reload();
        const word = answer.ok ? await answer.text() : seen;
        // the page itself may be older than the first word
        if (word !== seen && (await again())) seen = word;
      }
    } catch {
      // the daemon is being restarted, or the machine sleeps: it is asked again
    }
    // a page that is long in the making is made less often
    wait = Math.max(EVERY, 10 * (performance.now() - began));
    setTimeout(look, wait);
  };

  times(document);
  setInterval(() => times(document), 1000);
  if (lives()) look();
})();
