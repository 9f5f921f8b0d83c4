/** ISO 3166-1 alpha-2 codes by continent, as geolocation databases place them. If databases disagree, a country is on several continents. */
const countriesOf = {
  AF: "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW KE KM LR LS LY MA MG ML MR MU MW MZ NA NE NG RE RW SC SD SH SL SN SO SS ST SZ TD TG TN TZ UG YT ZA ZM ZW",
  AN: "AQ BV GS HM TF",
  AS: "AE AF AM AZ BD BH BN BT CC CN CX CY GE HK ID IL IN IO IQ IR JO JP KG KH KP KR KW KZ LA LB LK MM MN MO MV MY NP OM PH PK PS QA RU SA SG SY TH TJ TL TM TR TW UZ VN YE",
  EU: "AD AL AM AT AX AZ BA BE BG BY CH CY CZ DE DK EE ES FI FO FR GB GE GG GI GR HR HU IE IM IS IT JE KZ LI LT LU LV MC MD ME MK MT NL NO PL PT RO RS RU SE SI SJ SK SM TR UA VA XK",
  NA: "AG AI AW BB BL BM BQ BS BZ CA CR CU CW DM DO GD GL GP GT HN HT JM KN KY LC MF MQ MS MX NI PA PM PR SV SX TC TT UM US VC VG VI",
  OC: "AS AU CC CK CX FJ FM GU KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TL TO TV UM VU WF WS",
  SA: "AR AW BO BQ BR CL CO CW EC FK GF GS GY PE PY SR TT UY VE",
} as const;

type Continent = keyof typeof countriesOf;

const continents = new Map<string, Continent[]>();
for (const [continent, countries] of Object.entries(countriesOf)) {
  for (const country of countries.split(" ")) {
    continents.set(country, [...(continents.get(country) ?? []), continent as Continent]);
  }
}

export const continentsOf = (country: string): readonly Continent[] => continents.get(country) ?? [];

/** The continent of a country. Null if there is no such country, or if different databases place it on different continents. */
export function continentOf(country: string): string | null {
  const [first = null, ...others] = continentsOf(country);
  return others.length === 0 ? first : null;
}
