; LOCK is undefined but with the read-modify-write instructions on memory; other undefined forms (SDM 2A, LOCK).
%include "cpu.inc"
        START
        QUIET lock inc dword [scratch]
        QUIET lock xadd [scratch], eax
        QUIET lock bts dword [scratch], 3
        FAULTS UD, 0, {db 0xf0, 0x90}                   ; NOP
        FAULTS UD, 0, {db 0xf0, 0x40}                   ; INC EAX
        FAULTS UD, 0, {db 0xf0, 0x89, 0x03}             ; MOV
        FAULTS UD, 0, {db 0xf0, 0x39, 0x03}             ; CMP
        FAULTS UD, 0, {db 0xf0, 0x01, 0xc0}             ; ADD of a register
        FAULTS UD, 0, {db 0xf0, 0x0f, 0xab, 0xf5}       ; BTS of a register
        FAULTS UD, 0, {db 0xf0, 0x0f, 0xb3, 0xe3}       ; BTR of a register
        FAULTS UD, 0, {db 0xf0, 0x0f, 0xbb, 0xc6}       ; BTC of a register
        FAULTS UD, 0, {db 0xf0, 0x0f, 0xba, 0xe8, 1}    ; the same with a constant
        ; Behind others, in one block.
        xor ebx, ebx
        FAULTS_ELSEWHERE UD, 0, {db 0x43, 0x43, 0xf0, 0x0f, 0xab, 0xf5}
        CHECK_EQ ebx, 2
        FAULTS UD, 0, {db 0x0f, 0xff, 0xc0}             ; UD0
        FAULTS UD, 0, {db 0x0f, 0xb9, 0xc0}             ; UD1
        FAULTS UD, 0, {db 0x8d, 0xc0}                   ; LEA of a register
        FAULTS UD, 0, {db 0xff, 0xff}
        FAULTS UD, 0, {db 0xc5, 0xc0}                   ; LDS of a register
        ; Longer than 15 bytes.
        FAULTS GP, 0, times 15 db 0x66
        PASS
