import { testTranscripts } from "../support/transcripts.ts";

testTranscripts("docs/moves.md");
