/** The certificates of a client, as a TLSSocket tells of them. */
import { X509Certificate } from 'node:crypto';
import type { DetailedPeerCertificate, TLSSocket } from 'node:tls';

/** As DER, the client's own first. */
export function chainOf(socket: TLSSocket): Buffer[] {
  const chain: Buffer[] = [];
  let certificate = socket.getPeerX509Certificate();
  for (; certificate !== undefined; certificate = certificate.issuerCertificate) chain.push(certificate.raw);
  return chain;
}

/** undefined: there is none. */
export function certificateAt(chain: readonly Buffer[], index: number): X509Certificate | undefined {
  const der = chain[index];
  return der && new X509Certificate(der);
}

/** What `getPeerCertificate` answers. */
export function certificatesOf(chain: readonly Buffer[], isDetailed: boolean): object {
  const certificates = (isDetailed ? chain : chain.slice(0, 1)).map((der) => new X509Certificate(der));
  const objects = certificates.map(toObject);
  if (isDetailed) for (const [index, object] of objects.entries()) object.issuerCertificate = objects[index + 1] ?? own(certificates[index], object);
  return objects[0] ?? {};
}

function own(certificate: X509Certificate | undefined, object: DetailedPeerCertificate): DetailedPeerCertificate {
  return certificate?.checkIssued(certificate) ? object : (undefined as never);
}

/** `infoAccess` is text here, and by method there. */
function toObject(certificate: X509Certificate): DetailedPeerCertificate {
  const object = certificate.toLegacyObject() as unknown as DetailedPeerCertificate & { infoAccess?: unknown };
  if (typeof object.infoAccess === 'string') object.infoAccess = parseInfoAccess(object.infoAccess) as never;
  return object;
}

function parseInfoAccess(text: string): Record<string, string[]> {
  const access: Record<string, string[]> = Object.create(null) as Record<string, string[]>;
  for (const [, key = '', value = ''] of text.matchAll(/([^\n:]*):([^\n]*)(?:\n|$)/g)) {
    access[key] ??= [];
    access[key].push(value);
  }
  return access;
}
