import DOMPurify from "dompurify";
import { Lexer, Marked, type Links, type Token } from "marked";

// What an agent writes is not trusted. HTML in it is shown as text, not run,
// images are not loaded (they could tell somebody that they were seen), and
// what marked makes of the rest passes DOMPurify with a short list of what is
// allowed. The page's content security policy stands behind all this.

const allowedTags = [
  "a",
  "b",
  "blockquote",
  "br",
  "code",
  "del",
  "em",
  "h1",
  "h2",
  "h3",
  "h4",
  "h5",
  "h6",
  "hr",
  "i",
  "li",
  "ol",
  "p",
  "pre",
  "strong",
  "table",
  "tbody",
  "td",
  "th",
  "thead",
  "tr",
  "ul",
];
const allowedAttributes = ["href", "title", "start", "align"];

const marked = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    html: ({ text }) => escapeHtml(text),
    image: ({ href, text }) => `<a href="${escapeHtml(href)}">${escapeHtml(text || href)}</a>`,
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
  },
});

const purify = DOMPurify(window);
purify.addHook("afterSanitizeAttributes", (element) => {
  if (element.tagName !== "A") return;
  element.setAttribute("target", "_blank");
  element.setAttribute("rel", "noopener noreferrer");
});

function sanitize(html: string): DocumentFragment {
  return purify.sanitize(html, {
    ALLOWED_TAGS: allowedTags,
    ALLOWED_ATTR: allowedAttributes,
    ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    RETURN_DOM_FRAGMENT: true,
  });
}

/** A part of a text that is shown on its own. */
interface Block {
  type: string;
  source: string;
  /** It goes on a paragraph that was too long for one block. */
  continued?: boolean;
}

/** A paragraph is cut into blocks of about this many characters, at ends of lines. */
const paragraphPart = 2_000;

/**
 * Splits a text into blocks, by the rules for blocks alone: what stands inside
 * them, which costs most, is parsed only for those that are drawn. A paragraph
 * of thousands of lines would have to be laid out as a whole each time it grows,
 * so it is cut. The cuts depend on what is before them only, and so they stay.
 */
function split(source: string): { blocks: Block[]; links: Links } {
  const lexer = new Lexer(marked.defaults);
  const tokens: Token[] = lexer.blockTokens(source.replaceAll(/\r\n?/g, "\n"));
  const blocks: Block[] = [];
  for (const { type, raw } of tokens) {
    if (type === "space" || type === "def") continue;
    if (type !== "paragraph") {
      blocks.push({ type, source: raw });
      continue;
    }
    let begin = 0;
    while (begin < raw.length) {
      const lineEnd = raw.indexOf("\n", begin + paragraphPart);
      const end = lineEnd < 0 ? raw.length : lineEnd + 1;
      blocks.push({ type, source: raw.slice(begin, end), continued: begin > 0 });
      begin = end;
    }
  }
  return { blocks, links: lexer.tokens.links };
}

function draw(block: Block, links: Links, element: HTMLElement): void {
  const lexer = new Lexer(marked.defaults);
  lexer.tokens.links = links;
  element.className = `md-block md-${block.type}${block.continued ? " md-continued" : ""}`;
  if (block.type === "paragraph") {
    // As a whole it could be taken for something else: a line in the middle of
    // a paragraph may look like a list.
    const inline = marked.Parser.parseInline(lexer.inlineTokens(block.source.trim()), marked.defaults);
    element.replaceChildren(sanitize(`<p>${inline}</p>`));
    return;
  }
  const tokens = lexer.lex(block.source);
  element.replaceChildren(sanitize(marked.parser(tokens)));
  // What scrolls has to be reached by the keyboard.
  for (const pre of element.querySelectorAll("pre")) pre.tabIndex = 0;
  if (block.type === "code") element.append(copyButton(String((tokens[0] as { text?: string }).text ?? "")));
}

/**
 * MarkdownView shows a growing text in an element. Only those of its blocks are
 * drawn anew whose source changed: mostly the last. So a long answer stays cheap
 * while it grows, and what the reader has selected further up stays selected.
 */
export class MarkdownView {
  readonly #root: HTMLElement;
  #shown: { source: string; element: HTMLElement }[] = [];
  #links = 0;

  constructor(root: HTMLElement) {
    this.#root = root;
  }

  update(source: string): void {
    const { blocks, links } = split(source);
    // A link's target may be given below the link: then all has to be drawn again.
    const count = Object.keys(links).length;
    if (count !== this.#links) for (const shown of this.#shown) shown.source = "";
    this.#links = count;

    blocks.forEach((block, index) => {
      const shown = this.#shown[index];
      if (shown?.source === block.source) return;
      const element = shown?.element ?? this.#root.appendChild(document.createElement("div"));
      draw(block, links, element);
      this.#shown[index] = { source: block.source, element };
    });
    for (const extra of this.#shown.splice(blocks.length)) extra.element.remove();
    this.#root.classList.toggle("md-long", blocks.length > longBlocks);
  }
}

/** From here on, blocks that are out of sight are not laid out. */
const longBlocks = 40;

function copyButton(text: string): HTMLButtonElement {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.setAttribute("aria-label", "Copy this code");
  // There is no clipboard on pages over plain HTTP that are not local.
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", () => {
    void navigator.clipboard.writeText(text).then(
      () => (button.textContent = "Copied"),
      () => (button.textContent = "Failed"),
    );
  });
  return button;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
