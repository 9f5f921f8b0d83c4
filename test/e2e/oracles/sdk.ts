/**
 * Vendors' SDKs, which `npm run tools` installs into .local/oracles. The types here are written by hand, because `npm run check` must pass without
 * the SDKs. Tests load an SDK when they run, not when vitest collects them.
 */
import { createRequire } from "node:module";
import { oraclesDir } from "../tools.ts";

const requireOracle = createRequire(`${oraclesDir}/package.json`);

type Packages = {
  readonly "aws-crt": AwsCrt;
  readonly "@aws-sdk/client-s3": AwsS3;
  readonly "@aws-sdk/cloudfront-signer": { readonly getSignedUrl: (options: CloudFrontOptions) => string };
  readonly "@aws-sdk/s3-request-presigner": {
    readonly getSignedUrl: (client: object, command: object, options?: PresignOptions) => Promise<string>;
  };
  readonly "@azure/storage-blob": AzureBlob;
  readonly "@google-cloud/storage": {
    readonly Storage: new (options: { readonly projectId: string }) => GoogleStorage;
  };
  readonly "akamai-edgeauth": new (options: AkamaiOptions) => { generateACLToken(acl: string): string };
};
export type OraclePackage = keyof Packages;

export const loadOracle = <Name extends OraclePackage>(name: Name): Packages[Name] =>
  requireOracle(name) as Packages[Name];

export const versionOf = (name: OraclePackage): string => {
  const { dependencies } = requireOracle("./package.json") as { readonly dependencies: Record<OraclePackage, string> };
  return dependencies[name];
};

type AwsCrt = {
  readonly auth: {
    readonly AwsCredentialsProvider: { newStatic(accessKey: string, secretKey: string, sessionToken?: string): object };
    readonly AwsSigningAlgorithm: { readonly SigV4Asymmetric: number };
    readonly AwsSignatureType: { readonly HttpRequestViaQueryParams: number };
    readonly AwsSignedBodyValue: { readonly UnsignedPayload: string };
    readonly AwsSignedBodyHeaderType: { readonly None: number };
    aws_verify_sigv4a_signing(
      request: object,
      signing: object,
      expectedCanonicalRequest: string,
      signature: string,
      publicX: string,
      publicY: string,
    ): boolean;
  };
  readonly http: {
    readonly HttpHeaders: new (headers: readonly (readonly [name: string, value: string])[]) => object;
    readonly HttpRequest: new (method: string, path: string, headers: object) => object;
  };
};

type AwsKey = { readonly accessKeyId: string; readonly secretAccessKey: string; readonly sessionToken?: string };
type AwsObject = { readonly Bucket: string; readonly Key: string };
type AwsS3 = {
  readonly S3Client: new (options: {
    readonly region: string;
    readonly credentials: AwsKey;
    readonly endpoint?: string;
    readonly forcePathStyle?: boolean;
    readonly useDualstackEndpoint?: boolean;
    readonly useFipsEndpoint?: boolean;
    readonly useAccelerateEndpoint?: boolean;
  }) => { send(command: object): Promise<object> };
  readonly GetObjectCommand: new (object: AwsObject) => object;
  readonly HeadObjectCommand: new (object: AwsObject) => object;
  readonly PutObjectCommand: new (object: AwsObject & { readonly Body: Uint8Array }) => object;
};
type PresignOptions = { readonly expiresIn: number; readonly signingDate: Date };

type CloudFrontOptions = {
  readonly url: string;
  readonly keyPairId: string;
  readonly privateKey: string;
  readonly algorithm: "SHA1" | "SHA256";
} & ({ readonly dateLessThan: Date } | { readonly policy: string });

type AzureDelegationKey = {
  readonly signedObjectId: string;
  readonly signedTenantId: string;
  readonly signedStartsOn: Date;
  readonly signedExpiresOn: Date;
  readonly signedService: string;
  readonly signedVersion: string;
  readonly value: string;
};
type AzureSas = {
  readonly containerName: string;
  readonly blobName: string;
  readonly permissions: object;
  readonly expiresOn: Date;
  readonly protocol: string;
  readonly version: string;
};
type AzureBlob = {
  readonly BlobSASPermissions: { parse(permissions: string): object };
  readonly SASProtocol: { readonly Https: string };
  readonly StorageSharedKeyCredential: new (account: string, accountKey: string) => AzureCredential;
  readonly BlobServiceClient: new (
    url: string,
    credential: AzureCredential,
  ) => {
    getContainerClient(name: string): {
      create(): Promise<object>;
      getBlockBlobClient(name: string): { upload(body: Uint8Array, length: number): Promise<object> };
    };
  };
  generateBlobSASQueryParameters(sas: AzureSas, credential: AzureCredential): { toString(): string };
  generateBlobSASQueryParameters(sas: AzureSas, key: AzureDelegationKey, account: string): { toString(): string };
};
type AzureCredential = { readonly accountName: string };

type GoogleStorage = {
  authClient: {
    getCredentials(): Promise<{ readonly client_email: string }>;
    sign(text: string): Promise<string>;
  };
  bucket(name: string): {
    file(key: string): {
      getSignedUrl(options: {
        readonly version: "v4";
        readonly action: "read";
        readonly accessibleAt: Date;
        readonly expires: Date;
        readonly virtualHostedStyle: boolean;
        readonly queryParams: Readonly<Record<string, string>>;
      }): Promise<readonly [url: string]>;
    };
  };
};

type AkamaiOptions = { readonly key: string; readonly endTime: number; readonly salt?: string };
