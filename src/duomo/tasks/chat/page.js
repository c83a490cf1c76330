// How the studio asks this task and shows what it answers: a conversation that grows from turn to turn.
import { Refused, el, t } from "../page/base.js";

const bubble = (role, content) => el(`p.turn.${role}`, {}, content);
export function input(run, example = {}) {
  const [first, ...others] = Object.keys(run.columns), past = [], log = el("div.turns", { role: "log", "aria-label": t("Conversation") });
  const box = el("textarea.send", { rows: 3, "aria-label": t("Message"), placeholder: t("Message") });
  const node = el("div", {}, log, box);
  const say = (role, content) => { past.push({ role, content }); log.append(bubble(role, content)); };
  let begun = example[first] ?? "";
  if (typeof begun === "string" && begun.startsWith("[{")) { try { begun = JSON.parse(begun); } catch { /* it is a text */ } }
  const turns = Array.isArray(begun) ? begun.map((one) => ({ role: one.role ?? one.from, content: one.content ?? one.value ?? "" })) : [{ role: "user", content: begun }];
  const last = turns.findLastIndex((one) => ["user", "human"].includes(one.role));
  turns.slice(0, Math.max(0, last)).forEach((one) => say(one.role, one.content));
  box.value = turns[last]?.content ?? "";
  return {
    node,
    read: async () => {
      if (!box.value.trim()) throw new Refused(t("Write a message first."));
      return { [first]: JSON.stringify([...past, { role: "user", content: box.value }]), ...Object.fromEntries(others.map((name) => [name, null])) };
    },
    answered: (found, shown) => { say("user", box.value); past.push({ role: "assistant", content: found.prediction }); log.append(shown); box.value = ""; box.focus(); },
  };
}
export const answer = (found) => bubble("assistant", found.prediction || t("(nothing was said)"));
