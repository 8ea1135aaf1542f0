// Keeps the page fresh: fetches it again, and replaces what is in <main>. Without this script the
// page loads itself anew.
"use strict";

(() => {
  const EVERY = 5000;
  const LIMIT = 8000;
  // Older than this, in seconds, the page is told to be old, whatever the cause.
  const OLD = 20;
  const connection = document.getElementById("connection");
  const news = document.getElementById("news");
  let main = document.querySelector("main");
  // When the page was asked for, by both clocks: one stands still while the machine sleeps, and the
  // other can be set. An age is never shown too young.
  let asked = { steady: 0, wall: performance.timeOrigin };
  let failure = null;
  let asking = false;
  let timer = 0;

  const passed = () => Math.max(performance.now() - asked.steady, Date.now() - asked.wall, 0) / 1000;
  const pair = (big, unit, small, sub) => big + unit + (small ? String(small).padStart(2, "0") + sub : "");

  /** A duration as the server writes it: its two leading units. */
  function age(total) {
    const [days, hours, minutes, seconds] = parts(total);
    if (days) return pair(days, "d", hours, "h");
    if (hours) return pair(hours, "h", minutes, "m");
    if (minutes) return pair(minutes, "m", seconds, "s");
    return seconds + "s";
  }

  /** A clock as the server writes it: down to the second. */
  function clock(total) {
    const [days, hours, minutes, seconds] = parts(total);
    const two = (number) => String(number).padStart(2, "0");
    if (days) return `${days}d${two(hours)}h${two(minutes)}m${two(seconds)}s`;
    if (hours) return `${hours}h${two(minutes)}m${two(seconds)}s`;
    if (minutes) return `${minutes}m${two(seconds)}s`;
    return seconds + "s";
  }

  function parts(total) {
    const whole = Math.floor(total);
    return [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60, whole % 60];
  }

  function count() {
    for (const element of main.querySelectorAll("[data-age]")) {
      element.textContent = age(Number(element.dataset.age) + passed());
    }
    // Nobody knows whether a clock of an old page still runs.
    if (!old()) {
      for (const element of main.querySelectorAll("[data-clock]")) {
        element.textContent = clock(Number(element.dataset.clock) + passed());
      }
    }
    tell();
  }

  /** Why this page is old. Null if it is fresh. */
  function old() {
    if (failure) return `The exporter does not answer (${failure}).`;
    if (!main.dataset.now || passed() <= OLD) return null;
    return isSelecting() ? "This page waits while text is selected." : "This page was not refreshed.";
  }

  /** Tells that the page is old, so that nobody takes it for a fresh one. */
  function tell() {
    const why = old();
    document.body.classList.toggle("stale", why !== null);
    connection.hidden = why === null;
    const [reason, since] = connection.children;
    // A screen reader reads the reason aloud when it changes, and the age, which changes all the time, never.
    if (reason.textContent !== (why || "")) reason.textContent = why || "";
    since.textContent = why === null ? "" : ` This page shows what was so ${age(passed())} ago.`;
    if (why === null) return;
    if (!document.title.startsWith("(old) ")) document.title = "(old) " + document.title;
  }

  const same = (a, b) => a.tagName === b.tagName && a.getAttribute("href") === b.getAttribute("href")
    && a.textContent === b.textContent;

  /** The element of the new content that stands for one of the old content. */
  function counterpart(fresh, old) {
    if (old.id) return fresh.querySelector("#" + CSS.escape(old.id));
    const within = old.closest("[id]");
    const scope = within && main.contains(within) ? fresh.querySelector("#" + CSS.escape(within.id)) : fresh;
    return [...(scope || fresh).querySelectorAll(old.tagName)].find((element) => same(element, old));
  }

  function replace(fresh, title) {
    const active = document.activeElement;
    const focused = active && main.contains(active) ? counterpart(fresh, active) : null;
    const scrolled = [window.scrollX, window.scrollY];
    const inner = [...main.querySelectorAll(".wide[id]")].map((element) => [element.id, element.scrollLeft]);
    for (const details of main.querySelectorAll("details[id][open]")) {
      const again = fresh.querySelector("#" + CSS.escape(details.id));
      if (again) again.open = true;
    }
    const before = main.dataset.answer;
    main.replaceWith(fresh);
    main = fresh;
    for (const [id, left] of inner) {
      const again = document.getElementById(id);
      if (again) again.scrollLeft = left;
    }
    if (focused) focused.focus({ preventScroll: true });
    window.scrollTo(...scrolled);
    document.title = title;
    // A screen reader hears of a new answer, not of every new figure.
    if (main.dataset.answer !== before) news.textContent = main.querySelector("h1").textContent;
  }

  const isSelecting = () => {
    const selection = document.getSelection();
    return selection && !selection.isCollapsed && main.contains(selection.anchorNode);
  };

  async function refresh() {
    if (asking || document.hidden) return;
    asking = true;
    const now = { steady: performance.now(), wall: Date.now() };
    const abort = new AbortController();
    const limit = setTimeout(() => abort.abort(), LIMIT);
    try {
      const request = { cache: "no-store", signal: abort.signal, headers: { accept: "text/html" } };
      const answer = await fetch(location.href, request);
      if (!answer.ok) throw new Error("its answer is " + answer.status);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("main[data-now]");
      if (!fresh) throw new Error("its answer is another page");
      failure = null;
      // What a person is about to copy stays, and its age goes on.
      if (!isSelecting()) {
        replace(document.adoptNode(fresh), page.title);
        asked = now;
      }
    } catch (error) {
      failure = abort.signal.aborted ? "no answer within 8 s" : error instanceof TypeError ? "no connection" : error.message;
    } finally {
      clearTimeout(limit);
      asking = false;
    }
    count();
    plan();
  }

  function plan() {
    clearTimeout(timer);
    if (!document.hidden && main.dataset.now) timer = setTimeout(refresh, EVERY);
  }

  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (document.hidden || !main.dataset.now) return;
    count();
    refresh();
  });
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) refresh();
  });
  setInterval(count, 1000);
  plan();
})();
