/**
 * Says how old the files with the clouds' address ranges are. Clouds change their ranges every week, and nothing else tells the operator that a file
 * is old.
 */
import type { CloudFile, CloudFiles } from "../../topology/cloud-files.ts";
import { colors, counted } from "../output.ts";

const dayMs = 24 * 60 * 60 * 1_000;
const oldDays = 30;

const ageDays = ({ publishedAt }: CloudFile): number =>
  Math.max(0, Math.floor((Date.now() - publishedAt.getTime()) / dayMs));

export const cloudLines = (files: CloudFiles): readonly string[] =>
  [...files.values()].map((file) => {
    const days = ageDays(file);
    const date = file.publishedAt.toISOString().slice(0, 10);
    const what = file.dateFrom === "file time" ? `saved on ${date}; it names no date` : `published on ${date}`;
    const line = `clouds.${file.cloud}: ${file.path} is ${counted(days, "day")} old (${what})`;
    return days > oldDays ? colors.yellow(`${line}; download it again`) : line;
  });

export const cloudJson = (files: CloudFiles): readonly object[] =>
  [...files.values()].map((file) => ({
    cloud: file.cloud,
    file: file.path,
    publishedAt: file.publishedAt.toISOString(),
    dateFrom: file.dateFrom,
    ageDays: ageDays(file),
  }));
