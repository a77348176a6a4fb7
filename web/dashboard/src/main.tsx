import { render } from "preact";
import "./style/base.css";
import "./style/layout.css";
import "./style/session.css";
import "./style/queue.css";
import "./style/items.css";
import "./style/approval.css";
import "./style/files.css";
import "./style/markdown.css";
import "./style/operations.css";
import "./style/inbox.css";
import { App } from "./app.js";
import { showCount } from "./page-title.js";
import { followPointer } from "./pointer.js";

followPointer();
showCount();
render(<App />, document.getElementById("app")!);
