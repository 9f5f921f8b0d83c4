/** A name or an address, with a port or without: `URL` itself takes quotes, commas and more for a host (URL standard, "forbidden host code point"). */
export const isHost = (text: string): boolean => /^[\w.:[\]-]+$/.test(text) && URL.canParse(`https://${text}`);
