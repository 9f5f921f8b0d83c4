declare module "akamai-edgeauth" {
  /** Of the library's options, those that are used here. */
  class EdgeAuth {
    constructor(options: { readonly key: string; readonly endTime: number; readonly salt?: string });
    generateACLToken(acl: string): string;
  }
  export = EdgeAuth;
}
