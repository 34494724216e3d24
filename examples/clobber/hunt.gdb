# The kernel is dead. Where?
backtrace
frame function print_reports
print report
# 0xd0 is no address of a report, and it comes from the head of the list:
print reports
# No line of the source changes this pointer after the start. Who wrote it last?
watch -l reports
reverse-continue
# A store to an array of samples: 0xd0 is the time, in ticks. How does it get there?
backtrace
print/x ticks
print sample_count
print sizeof samples / sizeof samples[0]
print &samples[32]
print &reports
# sample_count is 32: one sample too many, written to what lies behind the array. `<=` should be `<`.
