/** Alerts of TLS 1.3, and the errors of Node's that go with them. */

/** RFC 8446 §6: those that are sent or told apart here. */
export const ALERTS = {
  closeNotify: 0,
  unexpectedMessage: 10,
  badRecordMac: 20,
  recordOverflow: 22,
  illegalParameter: 47,
  decodeError: 50,
  userCanceled: 90,
} as const;

/** As OpenSSL calls the ones that it may receive, in `error.code` behind ERR_SSL_. */
const RECEIVED: Readonly<Record<number, string>> = {
  10: 'SSLV3_ALERT_UNEXPECTED_MESSAGE',
  20: 'SSLV3_ALERT_BAD_RECORD_MAC',
  21: 'TLSV1_ALERT_DECRYPTION_FAILED',
  22: 'TLSV1_ALERT_RECORD_OVERFLOW',
  30: 'SSLV3_ALERT_DECOMPRESSION_FAILURE',
  40: 'SSLV3_ALERT_HANDSHAKE_FAILURE',
  42: 'SSLV3_ALERT_BAD_CERTIFICATE',
  43: 'SSLV3_ALERT_UNSUPPORTED_CERTIFICATE',
  44: 'SSLV3_ALERT_CERTIFICATE_REVOKED',
  45: 'SSLV3_ALERT_CERTIFICATE_EXPIRED',
  46: 'SSLV3_ALERT_CERTIFICATE_UNKNOWN',
  47: 'SSLV3_ALERT_ILLEGAL_PARAMETER',
  48: 'TLSV1_ALERT_UNKNOWN_CA',
  49: 'TLSV1_ALERT_ACCESS_DENIED',
  50: 'TLSV1_ALERT_DECODE_ERROR',
  51: 'TLSV1_ALERT_DECRYPT_ERROR',
  70: 'TLSV1_ALERT_PROTOCOL_VERSION',
  71: 'TLSV1_ALERT_INSUFFICIENT_SECURITY',
  80: 'TLSV1_ALERT_INTERNAL_ERROR',
};

/** Newer versions of OpenSSL have renamed the older half. */
const OLDER: string = /^(1\.|3\.[01]\.)/.test(process.versions.openssl) ? 'SSLV3' : 'SSL/TLS';

/** Ends a connection: something that the peer may not send. `code` and `reason` are those of OpenSSL. */
export class TlsFault extends Error {
  readonly code: string;
  readonly library = 'SSL routines';
  readonly reason: string;
  /** What the peer is told; undefined: nothing, since it has ended the connection itself. */
  readonly alert: number | undefined;

  constructor(reason: string, alert?: number) {
    super(`SSL routines::${reason}`);
    this.reason = reason;
    this.code = `ERR_SSL_${reason.toUpperCase().replaceAll(' ', '_')}`;
    this.alert = alert;
  }
}

/** The error for an alert that the peer has sent. @returns undefined for one that OpenSSL has no name for: to Node it is the end, without an error */
export function faultOfPeer(description: number): TlsFault | undefined {
  const name = RECEIVED[description];
  return name === undefined ? undefined : new TlsFault(name.replace('SSLV3', OLDER).toLowerCase().replaceAll('_', ' '));
}
