const std = @import("std");

pub fn main(init: std.process.Init) !void {
    var input: [4096]u8 = undefined;
    var reader = std.Io.File.stdin().readerStreaming(init.io, &input);
    var output: [4096]u8 = undefined;
    var writer = std.Io.File.stdout().writerStreaming(init.io, &output);

    var body: [256]u8 = undefined;
    const length = try reader.interface.readSliceShort(&body);
    const name = std.mem.trim(u8, body[0..length], " \r\n");
    try writer.interface.print("Hello, {s}!\n", .{if (name.len > 0) name else "world"});
    try writer.interface.flush();
}
