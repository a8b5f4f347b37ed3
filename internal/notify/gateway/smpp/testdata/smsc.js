// A short message centre made of the npm package smpp, for the gateway's test. It prints one JSON line for the port it
// listens on and one for each submit_sm. Numbers that end in 4xx are refused with that command_status; others get a receipt.
const smpp = require("smpp");
const say = (o) => process.stdout.write(JSON.stringify(o) + "\n");
let last = 0;

const server = smpp.createServer((session) => {
  session.on("error", () => {});
  session.on("bind_transceiver", (p) => {
    const ok = p.system_id === "kapi" && p.password === "s3cret!";
    say({ bind: p.system_id, type: p.system_type, version: p.interface_version });
    session.send(p.response({ command_status: ok ? 0 : smpp.ESME_RINVPASWD, system_id: "SMSC" }));
    if (!ok) session.close();
  });
  session.on("enquire_link", (p) => session.send(p.response()));
  session.on("unbind", (p) => { say({ unbind: true }); session.send(p.response()); session.close(); });
  session.on("submit_sm", (p) => {
    say({
      to: p.destination_addr, ton: p.dest_addr_ton, npi: p.dest_addr_npi, from: p.source_addr, from_ton: p.source_addr_ton,
      coding: p.data_coding, validity: p.validity_period, receipt: p.registered_delivery,
      text: typeof p.short_message.message === "string" ? p.short_message.message : p.short_message.message.toString("hex"),
    });
    const status = /4([0-9]{2})$/.exec(p.destination_addr);
    if (status) return session.send(p.response({ command_status: parseInt(status[1], 16) }));
    const id = String(++last);
    session.send(p.response({ message_id: id }));
    session.deliver_sm({
      esm_class: 4, source_addr: p.destination_addr, destination_addr: p.source_addr, receipted_message_id: id,
      short_message: `id:${id} sub:001 dlvrd:001 submit date:2601021504 done date:2601021504 stat:DELIVRD err:000 text:123456 is your Kapi`,
    });
  });
});
server.listen(0, "127.0.0.1", () => say({ port: server.address().port }));
