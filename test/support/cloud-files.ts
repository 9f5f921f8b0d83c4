/** Small files in the formats in which clouds publish their address ranges. */

export const awsFile = {
  syncToken: "1794700990",
  createDate: "2026-11-15-00-03-10",
  prefixes: [
    { ip_prefix: "192.0.2.0/25", region: "eu-central-1", service: "AMAZON", network_border_group: "eu-central-1" },
    { ip_prefix: "192.0.2.128/25", region: "eu-central-1", service: "AMAZON", network_border_group: "eu-central-1" },
    { ip_prefix: "192.0.2.64/26", region: "eu-central-1", service: "EC2", network_border_group: "eu-central-1-ham-1" },
    { ip_prefix: "198.51.100.0/24", region: "us-east-1", service: "EC2", network_border_group: "us-east-1" },
    { ip_prefix: "203.0.113.0/28", region: "GLOBAL", service: "CLOUDFRONT", network_border_group: "GLOBAL" },
  ],
  ipv6_prefixes: [
    { ipv6_prefix: "2001:db8:1000::/36", region: "eu-central-1", service: "EC2", network_border_group: "eu-central-1" },
  ],
};

export const googleFile = {
  syncToken: "1794700990123",
  creationTime: "2026-11-14T16:03:10.123",
  prefixes: [
    { ipv4Prefix: "198.51.100.0/25", service: "Google Cloud", scope: "europe-west3" },
    { ipv6Prefix: "2001:db8:2000::/44", service: "Google Cloud", scope: "europe-west3" },
    { ipv4Prefix: "198.51.100.128/25", service: "Google Cloud", scope: "europe-west4" },
  ],
};

const azureTag = (name: string, region: string, systemService: string, addressPrefixes: readonly string[]) => ({
  name,
  id: name,
  properties: { changeNumber: 9, region, regionId: 18, platform: "Azure", systemService, addressPrefixes },
});
export const azureFile = {
  changeNumber: 367,
  cloud: "Public",
  values: [
    azureTag("ActionGroup", "", "ActionGroup", ["192.0.2.4/30"]),
    azureTag("Storage.WestEurope", "westeurope", "AzureStorage", ["192.0.2.8/30"]),
    azureTag("AzureCloud.westeurope", "westeurope", "", ["203.0.113.0/26", "2001:db8:3000::/48"]),
    azureTag("AzureCloud.germanywc", "germanywc", "", ["203.0.113.128/26"]),
    azureTag("AzureCloud", "", "", ["203.0.113.0/26", "203.0.113.128/26", "203.0.113.255/32", "2001:db8:3000::/48"]),
  ],
};
