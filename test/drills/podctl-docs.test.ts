import { testTranscripts } from "../support/transcripts.ts";

testTranscripts("docs/podctl.md");
