// Help is text; only the frame is alive.
import { live } from "../lib/live.js";
import { shell } from "../lib/shell.js";

await shell();
live.start();
