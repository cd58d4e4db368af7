// The address of this site as a QR code, for a phone's camera.
import qrcode from "qrcode-generator";

/** Of any length that fits. */
export function code(text) {
  const made = qrcode(0, "M");
  made.addData(text);
  made.make();
  return made;
}
